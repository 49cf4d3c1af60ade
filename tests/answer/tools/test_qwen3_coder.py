"""Calls as Qwen3-Coder writes them: arguments bare, their types told by the tool's schema."""

from __future__ import annotations

import json

import pytest

from openllm.types import ToolCall
from tests.answer.cutting import Told, check_at_all_cuts, parts_of, tools

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "line": {"type": "integer"},
        "force": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": ["string", "null"]},
        "where": {"$ref": "#/$defs/place"},
        "mode": {"enum": ["a", "b"]},
    },
    "$defs": {"place": {"type": "object"}},
}


def call(*arguments: tuple[str, str], name: str = "edit") -> str:
    inside = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<tool_call>\n<function={name}>\n{inside}</function>\n</tool_call>"


EDIT = call(("path", "a.py"), ("line", "5"))
CALL = ("call", "edit", '{"path": "a.py", "line": 5}')
HTML = '<b>\n</tool_call> "q" \\ é🙂\n\n'
CASES: dict[str, list[Told]] = {
    EDIT: [CALL],
    f"I edit.\n{EDIT}\n{EDIT}": [("text", "I edit.\n"), CALL, ("text", "\n"), CALL],
    EDIT.replace("\n", ""): [CALL],
    EDIT.removeprefix("<tool_call>\n"): [CALL],
    EDIT.removesuffix("\n</tool_call>"): [CALL],
    call(("path", HTML)): [("call", "edit", json.dumps({"path": HTML}, ensure_ascii=False))],
    call(("path", "")): [("call", "edit", '{"path": ""}')],
    call(("path", "5")): [("call", "edit", '{"path": "5"}')],
    call(("force", "True"), ("line", "5.0")): [("call", "edit", '{"force": true, "line": 5.0}')],
    call(("tags", '["a", "b"]')): [("call", "edit", '{"tags": ["a", "b"]}')],
    call(("tags", "['a']")): [("call", "edit", '{"tags": ["a"]}')],
    call(("where", '{"x": [1]}')): [("call", "edit", '{"where": {"x": [1]}}')],
    call(("note", "null"), ("mode", "a")): [("call", "edit", '{"note": null, "mode": "a"}')],
    call(("note", "5"), ("line", "five")): [("call", "edit", '{"note": "5", "line": "five"}')],
    call(("other", "5"), ("more", "x y")): [("call", "edit", '{"other": 5, "more": "x y"}')],
    call(): [("call", "edit", "{}")],
    "<tool_call>\n<function=edit>\n<parameter=path>\na": [("call", "edit", '{"path": "a')],
    "<tool_call>\n<function=edit>\n<parameter=line>\n12": [("call", "edit", '{"line": 12')],
    "<tool_call>\n<function=edit>\n": [("text", "<tool_call>\n<function=edit>\n")],
    '<tool_call>\n{"name": "f"}\n</tool_call>': [
        ("text", '<tool_call>\n{"name": "f"}\n</tool_call>')
    ],
    "<tool_call>\n<function=edit>\nno": [("text", "<tool_call>\n<function=edit>\nno")],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("qwen3_coder", {"edit": SCHEMA}), text, expected)


def test_a_text_is_told_while_it_is_written() -> None:
    text = call(("path", "a" * 50))
    parser = tools("qwen3_coder", {"edit": SCHEMA})()
    pieces = [part for letter in text for part in parser.feed(letter)]
    assert len([part for part in pieces if isinstance(part, ToolCall)]) > 40
    assert parts_of(tools("qwen3_coder"), text)[0].arguments == '{"path": "%s"}' % ("a" * 50)
