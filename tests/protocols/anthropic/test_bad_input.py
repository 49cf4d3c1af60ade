"""Whatever is sent, the answer is one, or a 4xx in Anthropic's shape."""

from __future__ import annotations

from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.body.test_fields import JSON

PATH = "/v1/messages"
TEXT: Any = {"type": "text", "text": "hello"}
TOOL: Any = {"name": "weather", "input_schema": {"type": "object"}}
BLOCKS: Any = {
    "text": TEXT,
    "thinking": {"type": "thinking", "thinking": "a", "signature": "b"},
    "tool_use": {"type": "tool_use", "id": "a", "name": "weather", "input": {}},
    "tool_result": {"type": "tool_result", "tool_use_id": "a", "content": [TEXT]},
    "document": {"type": "document", "source": {"type": "text", "data": "a"}},
    "search_result": {"type": "search_result", "title": "a", "source": "b", "content": [TEXT]},
}
# Objects within a request, by where they stand: each gets a value that nobody expects there.
PLACES: Any = {
    "tools": TOOL,
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 9},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "system": TEXT,
}
FIELDS = (
    *PLACES,
    *("model", "messages", "max_tokens", "stream", "stop_sequences", "temperature", "top_k"),
    *("metadata", "context_management", "mcp_servers", "output_format", "chat_template_kwargs"),
)
IN_LISTS = ("tools", "system")


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Requests that are right but for one value."""
    body: dict[str, Any] = {"max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
    value = draw(JSON)
    where = draw(st.sampled_from(("field", "place", "block")))
    if where == "field":
        return {**body, draw(st.sampled_from(FIELDS)): value}
    if where == "place":
        name = draw(st.sampled_from(sorted(PLACES)))
        found = {**PLACES[name], draw(st.sampled_from(sorted(PLACES[name]))): value}
        return {**body, "tools": [TOOL], name: [found] if name in IN_LISTS else found}
    block = draw(st.sampled_from(sorted(BLOCKS)))
    found = {**BLOCKS[block], draw(st.sampled_from(sorted(BLOCKS[block]))): value}
    role = draw(st.sampled_from(("user", "assistant")))
    return {**body, "tools": [TOOL], "messages": [{"role": role, "content": [found, TEXT]}]}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=bodies())
def test_no_value_breaks_the_server(
    client: httpx.Client, strict_client: httpx.Client, body: dict[str, Any]
) -> None:
    for asked in (client, strict_client):
        for path in (PATH, PATH + "/count_tokens"):
            answer = asked.post(path, json=body)
            assert answer.status_code in (200, 400, 404), answer.text
            if answer.status_code != 200:
                assert answer.json()["error"]["type"].endswith("_error")
                assert answer.json()["error"]["message"]
