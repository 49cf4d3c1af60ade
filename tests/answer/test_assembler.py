"""Tokens of one choice to parts: thoughts, calls and stop strings together."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.formats import make_parser
from openllm.answer.parts import together
from openllm.errors import ConfigurationError
from openllm.types import AnswerDelta, SamplingParams, TokenDelta
from tests.answer.cutting import shown
from tests.tiny import write_tokenizer

TEXT = (
    '<think>\nRome? STOP is no word.\n</think>\n\nI look. <tool_call>\n{"name": "weather",'
    ' "arguments": {"city": "Rome"}}\n</tool_call>'
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return Tokenizer.from_file(str(path / "tokenizer.json"))


def assemble(tokenizer: Tokenizer, text: str, size: int = 1, **params: Any) -> list[AnswerDelta]:
    """The deltas of `text`, `size` tokens in each."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    choice = ChoiceAssembler(
        tokenizer,
        SamplingParams(**params),
        [],
        reasoning=make_parser("reasoning", "think", ""),
        tools=make_parser("tools", "hermes", ""),
    )
    found = []
    for at in range(0, len(ids), size):
        end = "length" if at + size >= len(ids) else None
        found.append(choice.feed(TokenDelta(ids[at : at + size], finish_reason=end)))
        if choice.finished:
            break
    return found


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_thought_a_text_and_a_call(tokenizer: Tokenizer, size: int) -> None:
    found = assemble(tokenizer, TEXT, size)
    parts = together([part for delta in found for part in delta.parts])
    assert [shown(part) for part in parts] == [
        ("reasoning", "Rome? STOP is no word."),
        ("text", "I look. "),
        ("call", "weather", '{"city": "Rome"}'),
    ]
    assert "".join(delta.text for delta in found) == "I look. "


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_stop_strings_end_the_answer_and_not_the_thought(tokenizer: Tokenizer, size: int) -> None:
    found = assemble(tokenizer, TEXT.replace("I look", "I STOP look"), size, stop=("STOP",))
    parts = together([part for delta in found for part in delta.parts])
    assert [shown(part) for part in parts] == [
        ("reasoning", "Rome? STOP is no word."),
        ("text", "I "),
    ]
    assert (found[-1].finish_reason, found[-1].stop_reason) == ("stop", "STOP")


def test_a_stop_string_in_a_call_ends_it_there(tokenizer: Tokenizer) -> None:
    found = assemble(tokenizer, TEXT, stop=("Rome",))
    parts = together([part for delta in found for part in delta.parts])
    assert shown(parts[-1]) == ("call", "weather", '{"city": "')


def test_an_unknown_format_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"There is no tools format 'x'\..*hermes"):
        make_parser("tools", "x", "")


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("include_stop", [False, True])
@pytest.mark.parametrize("shown_special", [False, True])
def test_a_stop_string_that_is_one_special_token(
    tokenizer: Tokenizer, read: bool, include_stop: bool, shown_special: bool
) -> None:
    mark = tokenizer.token_to_id("<|user|>")
    ids = [*tokenizer.encode("hello", add_special_tokens=False).ids, mark, mark]
    params = SamplingParams(
        stop=("<|user|>",), include_stop=include_stop, skip_special_tokens=not shown_special
    )
    parser = make_parser("reasoning", "think", "") if read else None
    choice = ChoiceAssembler(tokenizer, params, [], reasoning=parser, stop_marks={mark: "<|user|>"})
    found = [choice.feed(TokenDelta([token])) for token in ids[:-1]]
    assert "".join(delta.text for delta in found) == "hello" + "<|user|>" * include_stop
    assert (found[-1].finish_reason, found[-1].stop_reason) == ("stop", "<|user|>")
