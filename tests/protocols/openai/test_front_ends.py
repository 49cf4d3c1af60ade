"""What programs for people send: Continue's as recorded of its command line (1.5.47), Open WebUI's
and Cline's as their sources make it; less the length of their texts.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.scripted import Scripted

USAGE: Any = {"include_usage": True}
SYSTEM: Any = {"role": "system", "content": "Use the tools that you have."}
CACHED: Any = {"cache_control": {"type": "ephemeral"}}
CALL = '<tool_call>\n{"name": "Read", "arguments": {"path": "a.py"}}\n</tool_call>'


def tool(name: str = "Read", **schema: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, **schema}
    function = {"name": name, "description": "Read a file", "parameters": parameters}
    return {"type": "function", "function": function}


def text(told: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": told, **more}


def call(at: int) -> dict[str, Any]:
    function = {"name": "Read", "arguments": '{"path":"a.py"}'}
    return {"id": f"call_{at}", "type": "function", "function": function}


OPEN_WEBUI: Any = {
    "messages": [SYSTEM, {"role": "user", "content": [text("What is in a.py?", **CACHED)]}],
    "stream": True,
    "stream_options": USAGE,
    "params": {},
    "reasoning": {"effort": "low"},
}
CONTINUE: Any = {
    "messages": [SYSTEM, {"role": "user", "content": "What is in a.py?"}],
    "stream": True,
    "tools": [tool(required=["path"]), tool("Exit")],
    "stream_options": USAGE,
}
CLINE: Any = {
    "messages": [
        SYSTEM,
        {"role": "user", "content": [text("<task>a.py</task>"), text("# Time: noon")]},
        {"role": "assistant", "content": "I look.", "tool_calls": [call(1)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "print()"},
        {"role": "user", "content": [text("Go on."), text("# Time: one")]},
    ],
    "temperature": 0,
    "stream": True,
    "stream_options": USAGE,
    "tools": [tool(required=["path"], additionalProperties=False)],
}


def events(answer: httpx.Response) -> list[Any]:
    *told, end = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    return [json.loads(each) for each in told]


@pytest.mark.parametrize(
    ("body", "ignored"),
    [(OPEN_WEBUI, "params, reasoning"), (CONTINUE, None), (CLINE, None)],
    ids=["open-webui", "continue", "cline"],
)
def test_a_stream_is_text_then_its_usage(
    scripted: tuple[Scripted, httpx.Client], body: dict[str, Any], ignored: str | None
) -> None:
    found, client = scripted
    found.backend.script = "It prints."
    path, headers = "/v1/chat/completions", {"authorization": "Bearer none"}
    answer = client.post(path, json={"model": "scripted", **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("x-openllm-ignored") == ignored
    *chunks, last = events(answer)
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(pieces) == "It prints."
    assert (last["choices"], last["usage"]["completion_tokens"] > 0) == ([], True)


@pytest.mark.parametrize("body", [CONTINUE, CLINE], ids=["continue", "cline"])
def test_a_tool_is_called(scripted: tuple[Scripted, httpx.Client], body: dict[str, Any]) -> None:
    found, client = scripted
    found.backend.script = f"I look.\n{CALL}"
    answer = client.post("/v1/chat/completions", json={"model": "scripted", **body})
    deltas = [chunk["choices"][0]["delta"] for chunk in events(answer) if chunk["choices"]]
    calls = [one for delta in deltas for one in delta.get("tool_calls", [])]
    assert [one["function"]["name"] for one in calls if one.get("id")] == ["Read"]
    written = "".join(one["function"].get("arguments") or "" for one in calls)
    assert json.loads(written) == {"path": "a.py"}


def test_a_title_is_asked_for_without_a_stream(scripted: tuple[Scripted, httpx.Client]) -> None:
    """Open WebUI's, after a conversation's first turn."""
    found, client = scripted
    found.backend.script = '{"title": "A file"}'
    body = {"model": "scripted", "messages": [{"role": "user", "content": "A title?"}]}
    answer = client.post("/v1/chat/completions", json={**body, "stream": False}).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"title": "A file"}
