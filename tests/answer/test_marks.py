"""Marks that are special tokens: the parsers see them, the answer's text never shows them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.formats import parsers_of, reasoning_format, tool_format
from openllm.answer.parts import together
from openllm.answer.text import StreamDecoder
from openllm.answer.tokens import TokenTable
from openllm.discovery import variants
from openllm.types import AnswerDelta, Reading, SamplingParams, TokenDelta, ToolCall
from tests.answer.cutting import Told, shown

KINDS = {"tools": tool_format, "reasoning": reasoning_format}


@cache
def tokenizer() -> Tokenizer:
    """One token for each byte and for each mark of a format, these special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found.decoder = decoders.ByteLevel()
    tools = [tool_format(name).parser("", {}) for name in variants("openllm.tools")]
    thoughts = [reasoning_format(name).parser("") for name in variants("openllm.reasoning")]
    marks = {mark for parser in (*tools, *thoughts) for mark in parser.markers}
    found.add_special_tokens([AddedToken(mark, special=True) for mark in sorted(marks)])
    return found


def encode(text: str) -> list[int]:
    return list(tokenizer().encode(text, add_special_tokens=False).ids)


def assemble(
    reading: Reading, text: str, size: int = 1, end: str = "", **params: Any
) -> tuple[ChoiceAssembler, list[AnswerDelta]]:
    """The choice, and the deltas of `text` with `size` tokens in each."""
    special = TokenTable(tokenizer()).special_tokens
    reasoning, tools = parsers_of(reading, end)
    found = [parser for parser in (reasoning, tools) if parser is not None]
    marks = {special[mark]: mark for parser in found for mark in parser.markers}
    choice = ChoiceAssembler(
        tokenizer(), SamplingParams(**params), [], frozenset(), reasoning, tools, marks
    )
    ids, deltas = encode(text), []
    for at in range(0, len(ids), size):
        reason = "length" if at + size >= len(ids) else None
        deltas.append(choice.feed(TokenDelta(ids[at : at + size], finish_reason=reason)))
        if choice.finished:
            break
    return choice, deltas


def told(deltas: list[AnswerDelta]) -> list[Told]:
    parts = together([part for delta in deltas for part in delta.parts])
    assert "".join(delta.text for delta in deltas) == "".join(
        part.text
        for part in parts
        if not isinstance(part, ToolCall) and type(part).__name__ == "Text"
    )
    return [shown(part) for part in parts]


DEEPSEEK = Reading("think", "deepseek_v31")
KIMI = Reading("kimi", "kimi_k2")
HARMONY = Reading("harmony", "harmony")
SECTION = "<|tool_calls_section_begin|>"
CALL = '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"x": "é"}<|tool_call_end|>'
SIZES = [1, 2, 7, 1000]


@pytest.mark.parametrize("shows_special", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_a_call_in_special_tokens_is_found(size: int, shows_special: bool) -> None:
    text = f"<think>\nHm. 思</think>Ok.{SECTION}{CALL}{CALL}<|tool_calls_section_end|>"
    _, deltas = assemble(KIMI, text, size, skip_special_tokens=not shows_special)
    assert told(deltas) == [
        ("reasoning", "Hm. 思"),
        ("text", "Ok."),
        ("call", "f", '{"x": "é"}'),
        ("call", "f", '{"x": "é"}'),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_broken_call_comes_back_as_text_without_its_marks(size: int) -> None:
    _, deltas = assemble(KIMI, f"Ok. {SECTION}<|tool_call_begin|>what 漢?", size)
    assert told(deltas) == [("text", "Ok. what 漢?")]


@pytest.mark.parametrize("size", SIZES)
def test_marks_that_the_model_writes_in_letters_are_read_too(size: int) -> None:
    ids = [token for letter in f"Ok.{SECTION}{CALL}" for token in encode(letter)]
    choice = ChoiceAssembler(
        tokenizer(), SamplingParams(), [], frozenset(), *parsers_of(KIMI, ""), {}
    )
    deltas = [choice.feed(TokenDelta(ids[at : at + size])) for at in range(0, len(ids), size)]
    deltas.append(choice.feed(TokenDelta([], finish_reason="stop")))
    assert told(deltas) == [("text", "Ok."), ("call", "f", '{"x": "é"}')]


@pytest.mark.parametrize("size", SIZES)
def test_no_stop_string_is_in_a_mark(size: int) -> None:
    _, deltas = assemble(KIMI, f"Ok.{SECTION}{CALL}", size, stop=("tool", "|", ">"))
    assert told(deltas) == [("text", "Ok."), ("call", "f", '{"x": "é"}')]
    assert deltas[-1].finish_reason == "length"


@pytest.mark.parametrize("size", SIZES)
def test_a_stop_string_before_a_mark_ends_the_answer(size: int) -> None:
    _, deltas = assemble(KIMI, f"Ok. END{SECTION}{CALL}", size, stop=("END",))
    assert told(deltas) == [("text", "Ok. ")]
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", "END")


@pytest.mark.parametrize("size", SIZES)
def test_what_begins_like_a_stop_string_comes_before_the_call(size: int) -> None:
    _, deltas = assemble(KIMI, f"Ok. EN{SECTION}{CALL}", size, stop=("END",))
    assert told(deltas) == [("text", "Ok. EN"), ("call", "f", '{"x": "é"}')]


@pytest.mark.parametrize("reading", [HARMONY, Reading(None, "harmony"), Reading("harmony", None)])
@pytest.mark.parametrize("size", SIZES)
def test_harmony_is_read_by_one_parser(size: int, reading: Reading) -> None:
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>"
        "I STO<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json"
        '<|message|>{"x": 1}<|call|>'
    )
    choice, deltas = assemble(reading, text, size, stop=("STOP",))
    assert told(deltas) == [("reasoning", "Hm."), ("text", "I STO"), ("call", "f", '{"x": 1}')]
    assert choice.reasoning_tokens == len("Hm.")


@pytest.mark.parametrize("size", SIZES)
def test_tokens_within_a_thought_are_counted(size: int) -> None:
    assert assemble(KIMI, "<think>Hm. é</think>Yes.", size)[0].reasoning_tokens == len("Hm. Ã©")
    assert assemble(KIMI, "Yes.", size)[0].reasoning_tokens == 0
    begun = assemble(KIMI, "Hm.</think>Yes.", size, end="<think>\n")[0]
    assert (begun.reasoning_tokens, begun.tokens) == (3, 8)
    assert assemble(KIMI, "<think>Hm", size)[0].reasoning_tokens == 2
    assert assemble(Reading("kimi"), "<think></think>", size)[0].reasoning_tokens == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_size_of_the_deltas_changes_nothing(data: st.DataObject) -> None:
    reading = data.draw(st.sampled_from([DEEPSEEK, KIMI, HARMONY]))
    special = [token for token, _ in tokenizer().get_added_tokens_decoder().items()]
    letters = encode('aS{}"x:1 é思\n') + encode('{"x": 1}')
    ids = data.draw(st.lists(st.sampled_from([*special, *letters * 3]), max_size=40))
    text = tokenizer().decode(ids, skip_special_tokens=False)
    stop = data.draw(st.sampled_from([(), ("aS",), ("Sa", "{}")]))
    expected = told(assemble(reading, text, 1, stop=stop)[1])
    size = data.draw(st.integers(2, 50))
    assert told(assemble(reading, text, size, stop=stop)[1]) == expected
    marks = [mark for kind in parsers_of(reading, "") if kind is not None for mark in kind.markers]
    assert not any(mark in part[1] for part in expected if part[0] != "call" for mark in marks)


def test_without_a_parser_special_tokens_are_hidden_as_ever() -> None:
    _, deltas = assemble(Reading(), f"Ok.{SECTION}No.")
    assert "".join(delta.text for delta in deltas) == "Ok.No."
    assert all(delta.parts == () for delta in deltas)
    decoder = StreamDecoder(tokenizer())
    assert "".join(map(decoder.step, encode(f"Ok.{SECTION}No."))) == "Ok.No."
