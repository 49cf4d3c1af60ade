"""Calls as Llama 3.2 and 4 write them, in Python; and lists that are none."""

from __future__ import annotations

import warnings

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, told, tools

CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    "[weather(city='Rome')]": [CALL],
    '[weather(city="Rome"), now()]': [CALL, ("call", "now", "{}")],
    "<|python_start|>[weather(city='Rome')]<|python_end|>": [CALL],
    "I look.\n[weather(city='Rome')]": [("text", "I look."), CALL],
    "[weather(city='a, b=\\'c\\') [é]', n=[1, -2.5, {'a': None}], ok=True)]": [
        ("call", "weather", '{"city": "a, b=\'c\') [é]", "n": [1, -2.5, {"a": null}], "ok": true}')
    ],
    "[weather(city=null, ok=true)]": [("call", "weather", '{"city": null, "ok": true}')],
    "[weather(city=(1, 2))]": [("call", "weather", '{"city": [1, 2]}')],
    '[weather(city="\\ud83d\\ude42")]': [("call", "weather", '{"city": "🙂"}')],
    '[weather(from=1, in ="from=", n={"as": "\\"is="})]': [
        ("call", "weather", '{"from": 1, "in": "from=", "n": {"as": "\\"is="}}')
    ],
    "[weather(**{'city': 1})]": [("text", "[weather(**{'city': 1})]")],
    "[weather(city=home)]": [("text", "[weather(city=home)]")],
    "[weather('Rome')]": [("text", "[weather('Rome')]")],
    "[weather(city='Rome'), 1]": [CALL, ("text", ", 1]")],
    "[weather(city=1e999)]": [("text", "[weather(city=1e999)]")],
    '[weather(city="\\ud83d")]': [("text", '[weather(city="\\ud83d")]')],
    "[weather(city={1: 2})]": [("text", "[weather(city={1: 2})]")],
    "[weather(city=['Rome'})]": [("text", "[weather(city=['Rome'})]")],
    "[link](http://x)": [("text", "[link](http://x)")],
    "[1] See f(x=1)": [("text", "[1] See f(x=1)")],
    "[other(x=1)]": [("text", "[other(x=1)]")],
    "[weather(city='Ro": [("text", "[weather(city='Ro")],
    "": [],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("pythonic", {"weather": {}, "now": {}}), text, expected)


def test_a_backslash_that_escapes_nothing_stays_and_nobody_is_warned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told(tools("pythonic"), "[grep(text='\\d+')]") == [
            ("call", "grep", '{"text": "\\\\d+"}')
        ]


@pytest.mark.parametrize("nested", ["[" * 5000 + "]" * 5000, "-" * 5000 + "1", "'" * 9999])
def test_what_is_too_much_for_python_is_text(nested: str) -> None:
    text = f"[f(x={nested})]"
    assert told(tools("pythonic"), text) == [("text", text)]
