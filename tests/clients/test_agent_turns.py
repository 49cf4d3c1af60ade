"""Ten recorded turns of an agent, sent again to the demo, each with all that was before it: the
history is taken, calls that must come keep to their schemas, streams say the same as whole answers.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.turns import TOOLS, TURNS, blocks, chat, items

openai = pytest.importorskip("openai", reason="needs `make test-clients`")
anthropic = pytest.importorskip("anthropic", reason="needs `make test-clients`")
jsonschema = pytest.importorskip("jsonschema", reason="needs `make test-clients`")

HISTORIES = [TURNS[:count] for count in range(1, len(TURNS) + 1)]
LEAST_CALLS = 4  # that are complete, of ten answers
MOST = 80  # tokens; as many as a call takes


def valid(name: str, arguments: Any) -> bool:
    """Whether they keep to the tool's schema; where they do not, it says why."""
    found = json.loads(arguments) if isinstance(arguments, str) else arguments
    jsonschema.validate(found, TOOLS[name])
    return True


def declared(*, strict: bool, flat: bool) -> list[Any]:
    """The tools as OpenAI's chat has them, or `flat`, as its responses do."""
    functions = [
        {"name": name, "description": name, "parameters": schema, "strict": strict}
        for name, schema in TOOLS.items()
    ]
    if flat:
        return [{"type": "function", **function} for function in functions]
    return [{"type": "function", "function": function} for function in functions]


def choices(at: int, *, flat: bool) -> Any:
    """One way after the other to say what must be called."""
    own = {"name": "note"} if flat else {"function": {"name": "note"}}
    return ["required", {"type": "function", **own}, "auto"][at % 3]


@pytest.fixture(scope="module")
def client(demo: str) -> Any:
    with openai.OpenAI(
        base_url=f"{demo}/v1",
        api_key="none",
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
    ) as found:
        yield found


def test_chat(client: Any) -> None:
    complete = 0
    for at, turns in enumerate(HISTORIES):
        choice = choices(at, flat=False)
        asked: Any = {
            "model": "demo",
            "messages": chat(turns),
            "tools": declared(strict=True, flat=False),
            "tool_choice": choice,
            "parallel_tool_calls": at % 2 == 1,
            "max_tokens": MOST,
            "temperature": 0,
        }
        if at % 2:
            (found,) = client.chat.completions.create(**asked).choices
        else:
            with client.chat.completions.stream(**asked) as stream:
                kinds = [event.type for event in stream]
                (found,) = stream.get_final_completion().choices
            assert kinds[0] == "chunk"
        calls = found.message.tool_calls or []
        assert choice == "auto" or calls
        for call in calls if found.finish_reason == "tool_calls" else []:
            complete += valid(call.function.name, call.function.arguments)
            assert choice in ("auto", "required") or call.function.name == "note"
    assert complete >= LEAST_CALLS


def test_responses(client: Any) -> None:
    complete = 0
    for at, turns in enumerate(HISTORIES[1::2]):
        choice = choices(at, flat=True)
        asked: Any = {
            "model": "demo",
            "input": items(turns),
            "instructions": "Use the tools.",
            "tools": declared(strict=True, flat=True),
            "tool_choice": choice,
            "store": False,
            "max_output_tokens": MOST,
            "temperature": 0,
        }
        if at % 2:
            found = client.responses.create(**asked)
        else:
            with client.responses.stream(**asked) as stream:
                kinds = [event.type for event in stream]
                found = stream.get_final_response()
            assert kinds[:2] == ["response.created", "response.in_progress"]
            assert kinds[-1] in ("response.completed", "response.incomplete")
        calls = [item for item in found.output if item.type == "function_call"]
        assert choice == "auto" or calls
        for call in calls if found.status == "completed" else []:
            complete += valid(call.name, call.arguments)
    assert complete >= LEAST_CALLS // 2


def test_messages(demo: str) -> None:
    complete = 0
    tools: Any = [
        {"name": name, "description": name, "input_schema": schema}
        for name, schema in TOOLS.items()
    ]
    wanted: Any = [{"type": "any"}, {"type": "tool", "name": "note"}]
    with anthropic.Anthropic(
        base_url=demo,
        api_key="none",
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
    ) as client:
        for at, turns in enumerate(HISTORIES[1::2]):
            choice = {**wanted[at % 2], "disable_parallel_tool_use": True}
            asked: Any = {
                "model": "demo",
                "messages": blocks(turns),
                "system": "Use the tools.",
                "tools": tools,
                "tool_choice": choice,
                "max_tokens": MOST,
                "extra_body": {"temperature": 0},
            }
            whole = client.messages.create(**asked)
            if at % 3 == 0:
                with client.messages.stream(**asked) as stream:
                    streamed = stream.get_final_message()
                assert [block.type for block in streamed.content] == [
                    block.type for block in whole.content
                ]
            calls = [block for block in whole.content if block.type == "tool_use"]
            assert calls
            for call in calls if whole.stop_reason == "tool_use" else []:
                complete += valid(call.name, call.input)
    assert complete >= LEAST_CALLS // 2
