"""Calls as Mistral's models write them, before and after its tokenizer 11."""

from __future__ import annotations

import pytest

from openllm.answer.formats import Call, tool_format
from openllm.types import ToolCall
from tests.answer.cutting import Told, check_at_all_cuts, parts_of, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"[TOOL_CALLS][{WEATHER}]": [CALL],
    f"[TOOL_CALLS] [{WEATHER}, {WEATHER}]": [CALL, CALL],
    f"[TOOL_CALLS]{WEATHER}": [CALL],
    '[TOOL_CALLS]weather{"city": "Rome"}': [CALL],
    '[TOOL_CALLS]weather[ARGS]{"city": "Rome"}': [CALL],
    '[TOOL_CALLS]weather[CALL_ID]a1B2c3D4e[ARGS]{"city": "Rome"}': [CALL],
    '[TOOL_CALLS]weather[ARGS]{"city": "Rome"}[TOOL_CALLS]weather[ARGS]{"city": "Rome"}': [
        CALL,
        CALL,
    ],
    'I look.[TOOL_CALLS]weather[ARGS]{"q": "[TOOL_CALLS]x{}é"}': [
        ("text", "I look."),
        ("call", "weather", '{"q": "[TOOL_CALLS]x{}é"}'),
    ],
    '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Rome"}, "id": "a1B2c3D4e"}]': [CALL],
    "[TOOL_CALLS]weather[ARGS]": [("text", "[TOOL_CALLS]weather[ARGS]")],
    "[TOOL_CALLS]weather is nice": [("text", "[TOOL_CALLS]weather is nice")],
    "[TOOL_CALLS]": [("text", "[TOOL_CALLS]")],
    '[TOOL_CALLS]weather[ARGS]{"city": "Ro': [("call", "weather", '{"city": "Ro')],
}


@pytest.mark.parametrize("name", ["mistral", "mistral_v11"])
@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(name: str, text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools(name), text, expected)


def ids(text: str) -> list[str | None]:
    parts = parts_of(tools("mistral"), text)
    return [part.id for part in parts if isinstance(part, ToolCall)]


def test_ids_are_the_models_own_or_such_as_its_templates_take() -> None:
    assert ids('[TOOL_CALLS]weather[CALL_ID]a1B2c3D4e[ARGS]{"city": "Rome"}') == ["a1B2c3D4e"]
    (made,) = ids(f"[TOOL_CALLS][{WEATHER}]")
    assert made is not None
    assert len(made) == 9
    assert made.isalnum()


def test_an_id_of_another_maker_becomes_nine_letters_the_same_each_time() -> None:
    shown = tool_format("mistral").history_id
    assert shown(Call("f", id="a1B2c3D4e"), 0) == "a1B2c3D4e"
    first = shown(Call("f", id="call_0123456789abcdef"), 0)
    assert first == shown(Call("f", id="call_0123456789abcdef"), 7)
    assert first != shown(Call("f", id="call_0123456789abcdee"), 0)
    assert (len(first), first.isalnum()) == (9, True)
    assert shown(Call("f"), 0) != shown(Call("f"), 1)
