"""Prompts of a benchmark: made up, or out of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.cli.bench.prompts import PromptShape, make_requests, read_requests
from openllm.errors import ConfigurationError


def test_made_up_prompts_share_their_beginnings() -> None:
    shape = PromptShape(prompt=64, answer=5, prefix=48, prefixes=2)
    pool = list(range(1000))
    found = [each.prompt for each in make_requests(4, shape, pool, "0/8")]
    assert all(isinstance(prompt, list) and len(prompt) == 64 for prompt in found)
    assert found[0][:48] == found[2][:48] != found[1][:48] == found[3][:48]
    assert len({tuple(prompt) for prompt in found}) == 4
    again = [each.prompt for each in make_requests(4, shape, pool, "0/8")]
    other = [each.prompt for each in make_requests(4, shape, pool, "0/16")]
    assert found == again
    assert found[0][:48] == other[0][:48]  # shared by all levels of a run
    assert found[0] != other[0]


def test_without_a_vocabulary_they_are_words() -> None:
    (found,) = make_requests(1, PromptShape(prompt=10, answer=5), None, "0")
    assert isinstance(found.prompt, str)
    assert (len(found.prompt.split()), found.max_tokens) == (10, 5)


def test_no_more_can_be_shared_than_there_is() -> None:
    with pytest.raises(ConfigurationError, match="at most 8"):
        PromptShape(prompt=8, prefix=9)


def test_a_file_has_a_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_text('Hello.\n\n{"prompt": "Hi", "max_tokens": 3}\n{"prompt": [1, 2]}\n')
    found = [(each.prompt, each.max_tokens) for each in read_requests(path, 16, chat=False)]
    assert found == [("Hello.", 16), ("Hi", 3), ([1, 2], 16)]
    turns = '[{"role": "user", "content": "Hi"}]'
    path.write_text(f'{{"messages": {turns}, "output_tokens": 4}}')
    (turn,) = read_requests(path, 16, chat=True)
    assert (turn.prompt, turn.max_tokens) == ([{"role": "user", "content": "Hi"}], 4)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "this is not JSON"),
        ("{}", "there is no prompt"),
        ('{"prompt": "a", "max_tokens": 0}', "max_tokens must be a whole number above 0, not 0"),
        ('{"messages": []}', "messages are asked with --chat only"),
    ],
)
def test_what_is_wrong_with_a_file_names_the_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "prompts"
    path.write_text(f"Hello.\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_requests(path, 16, chat=False)
    assert f"{path}:2: {why}." in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="has no prompts"):
        read_requests(path, 16, chat=False)
