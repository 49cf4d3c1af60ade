"""What ends a turn is said by any of a model's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.weights.endings import end_token_ids

END = {"content": "<|im_end|>", "special": True}
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "nothing": ({"config": {}}, ()),
    "each of the files": (
        {
            "config": {"eos_token_id": 5},
            "generation_config": {"eos_token_id": [7, 5]},
            "tokenizer_config": {"eos_token": "<|im_end|>", "added_tokens_decoder": {"9": END}},
        },
        (7, 5, 9),
    ),
    "the text part": ({"config": {"text_config": {"eos_token_id": [3]}}}, (3,)),
    "the tokenizer alone": (
        {"tokenizer_config": {"eos_token": END}, "tokenizer": {"added_tokens": [END | {"id": 4}]}},
        (4,),
    ),
    "a word of the vocabulary": (
        {"tokenizer_config": {"eos_token": "</s>"}, "tokenizer": {"model": {"vocab": {"</s>": 2}}}},
        (2,),
    ),
    "the map of special tokens": (
        {
            "special_tokens_map": {"eos_token": "</s>"},
            "tokenizer": {"added_tokens": [{"content": "</s>", "id": 1}]},
        },
        (1,),
    ),
    "what is no id": ({"config": {"eos_token_id": [True, -1, "x", None, 6]}}, (6,)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_end_of_a_turn(tmp_path: Path, name: str) -> None:
    files, expected = CASES[name]
    for file, value in files.items():
        (tmp_path / f"{file}.json").write_text(json.dumps(value))
    assert end_token_ids(tmp_path) == expected
