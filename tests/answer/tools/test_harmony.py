"""Calls, thoughts and answers as gpt-oss writes them, in harmony's channels."""

from __future__ import annotations

from functools import partial

import pytest

from openllm.answer.harmony import HarmonyReader
from tests.answer.cutting import Told, check_at_all_cuts, reasoning, tools

THOUGHT = "<|channel|>analysis<|message|>Need the weather."
NEXT = "<|end|><|start|>assistant"
WEATHER = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Rome"}'
FINAL = "<|channel|>final<|message|>It is warm."
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"{THOUGHT}{NEXT}{FINAL}": [("reasoning", "Need the weather."), ("text", "It is warm.")],
    f"{THOUGHT}{NEXT}{WEATHER}<|call|>": [("reasoning", "Need the weather."), CALL],
    f"{WEATHER}<|call|><|start|>assistant{WEATHER}": [CALL, CALL],
    f"{FINAL}<|return|>": [("text", "It is warm.")],
    f"<|channel|>commentary<|message|>I look.{NEXT}{WEATHER}": [("text", "I look."), CALL],
    # the receiver before the channel, no mark for the kind of content, no space
    ' to=functions.weather<|channel|>commentary json<|message|>{"city": "Rome"}': [CALL],
    '<|channel|>commentary to=weather<|message|>{"city": "Rome"}<|call|>': [CALL],
    "<|channel|>commentary to=functions.now<|message|><|call|>": [("call", "now", "{}")],
    # a tool of the model's own, which nobody has declared
    "<|channel|>analysis to=python code<|message|>print(1)<|call|>": [("reasoning", "print(1)")],
    THOUGHT: [("reasoning", "Need the weather.")],
    WEATHER.partition("Rome")[0]: [("call", "weather", '{"city": "')],
    # without channels, as a grammar may force it
    '{"a": "to=functions.x"}': [("text", '{"a": "to=functions.x"}')],
    " to be": [("text", " to be")],
    "<|channel|>fin": [("text", "<|channel|>fin")],
    "<|channel|>analysis<|end|>": [("text", "<|channel|>analysis")],
    f"{FINAL}<|end|><|start|>user<|message|>Thanks": [("text", "It is warm.Thanks")],
    "": [],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("harmony", {"weather": {}}), text, expected)


def test_the_parser_of_thoughts_finds_the_same() -> None:
    text = f"{THOUGHT}{NEXT}{WEATHER}<|call|>"
    check_at_all_cuts(reasoning("harmony"), text, CASES[text])


@pytest.mark.parametrize(
    ("prompt_end", "kind"),
    [
        ("<|start|>assistant<|channel|>analysis<|message|>", "reasoning"),
        ("<|start|>assistant<|channel|>final<|message|>", "text"),
        ("<|start|>assistant", "text"),
    ],
)
def test_a_message_that_the_prompt_has_begun(prompt_end: str, kind: str) -> None:
    make = partial(HarmonyReader, prompt_end)
    check_at_all_cuts(
        make,
        f"So.{NEXT}{FINAL}",
        [(kind, "So."), ("text", "It is warm.")]
        if kind == "reasoning"
        else [("text", "So.It is warm.")],
    )


def test_it_says_while_it_thinks() -> None:
    parser = HarmonyReader()
    seen = []
    for piece in (THOUGHT, NEXT, FINAL):
        parser.feed(piece)
        seen.append(parser.thinking)
    assert seen == [True, False, False]
