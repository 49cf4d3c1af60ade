"""A thought before the answer, however it is cut, and answers without one."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.answer.reasoning.think import TaggedThought
from tests.answer.cutting import CUTS, told

INSIDE = partial(TaggedThought, "<|assistant|>\n<think>\n")
CASES = {
    "<think>\nHm.\n</think>\n\nYes.": [("reasoning", "Hm."), ("text", "Yes.")],
    "<think>a\n\nb</think>c": [("reasoning", "a\n\nb"), ("text", "c")],
    "<think></think>c": [("text", "c")],
    "Yes.": [("text", "Yes.")],
    "  Yes.\n": [("text", "  Yes.\n")],
    "<thin air": [("text", "<thin air")],
    "<think>no end": [("reasoning", "no end")],
    "Yes <think>late</think>": [("text", "Yes <think>late</think>")],
    "<think>a</think>b</think>": [("reasoning", "a"), ("text", "b</think>")],
    "<thi": [("text", "<thi")],
    "": [],
}
BEGUN = {
    "Hm.\n</think>\n\nYes.": [("reasoning", "Hm."), ("text", "Yes.")],
    "\n\nHm.": [("reasoning", "Hm.")],
    "</think>Yes.": [("text", "Yes.")],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[tuple[str, ...]]) -> None:
    assert told(TaggedThought, text) == expected


@pytest.mark.parametrize(("text", "expected"), BEGUN.items())
def test_a_thought_that_the_prompt_has_begun(text: str, expected: list[tuple[str, ...]]) -> None:
    assert told(INSIDE, text) == expected


@given(st.sampled_from(list(CASES)), CUTS)
def test_the_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    assert told(TaggedThought, text, cuts) == CASES[text]


@given(st.sampled_from(list(BEGUN)), CUTS)
def test_the_cut_changes_nothing_inside(text: str, cuts: list[int]) -> None:
    assert told(INSIDE, text, cuts) == BEGUN[text]


@given(st.text("<think>/ab\n", max_size=40), CUTS)
def test_whatever_is_written_the_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    assert told(TaggedThought, text, cuts) == told(TaggedThought, text)
