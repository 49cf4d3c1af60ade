"""Log probabilities on the wire: OpenAI's two shapes and vLLM's prompt tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from openllm.answer.tokens import TokenTable
from openllm.http.framing import LEAST
from openllm.protocols.openai.logprobs import ChatLogprobs, TextLogprobs, prompt_table
from openllm.types import TokenLogprob


@pytest.fixture(scope="module")
def tokenizer(echo_model: Path) -> Tokenizer:
    return Tokenizer.from_file(str(echo_model / "tokenizer.json"))


def entry(token: int, logprob: float = -0.5, *top: tuple[int, float]) -> TokenLogprob:
    return TokenLogprob(token, logprob, 1, top)


def test_chat_has_one_entry_per_token_with_its_alternatives(tokenizer: Tokenizer) -> None:
    a, b = tokenizer.token_to_id("a"), tokenizer.token_to_id("b")
    found = ChatLogprobs(TokenTable(tokenizer), 1).encode([entry(a, -0.5, (b, -0.2), (a, -0.5))])
    top = [{"token": "b", "logprob": -0.2, "bytes": [98]}]
    expected = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top}
    assert found == {"content": [expected], "refusal": None}


def test_minus_infinity_is_a_number_json_can_say(tokenizer: Tokenizer) -> None:
    a = tokenizer.token_to_id("a")
    found = ChatLogprobs(TokenTable(tokenizer), 1).encode([entry(a, -math.inf, (a, -math.inf))])
    assert (
        found["content"][0]["logprob"] == found["content"][0]["top_logprobs"][0]["logprob"] == LEAST
    )


@given(
    text=st.text(alphabet="abc \u00fc\u4e2d\U0001f600", min_size=1, max_size=20),
    cut=st.integers(0, 20),
)
def test_text_offsets_point_at_the_tokens_in_the_text(
    tokenizer: Tokenizer, text: str, cut: int
) -> None:
    table = TokenTable(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    lists = TextLogprobs(table, 0)
    chunks = [lists.encode([entry(token) for token in part]) for part in (ids[:cut], ids[cut:])]
    offsets = [offset for chunk in chunks for offset in chunk["text_offset"]]
    assert len(offsets) == len(ids)
    for token, offset in zip(ids, offsets, strict=True):
        if "\ufffd" not in table.text(token):
            assert text[offset:].startswith(table.text(token))


def test_completions_list_the_chosen_token_with_the_best(tokenizer: Tokenizer) -> None:
    a, b = tokenizer.token_to_id("a"), tokenizer.token_to_id("b")
    found = TextLogprobs(TokenTable(tokenizer), 1).encode(
        [None, entry(a, -2.0, (b, -0.2), (a, -2.0))], first=b
    )
    assert found["tokens"] == ["b", "a"]
    assert found["token_logprobs"] == [None, -2.0]
    assert found["top_logprobs"] == [None, {"b": -0.2, "a": -2.0}]
    assert found["text_offset"] == [0, 1]


def test_prompt_tables_hold_the_prompts_own_token(tokenizer: Tokenizer) -> None:
    a, b = tokenizer.token_to_id("a"), tokenizer.token_to_id("b")
    item = TokenLogprob(a, -3.0, 7, ((b, -0.1),))
    first, second = prompt_table(TokenTable(tokenizer), [None, item])
    assert first is None
    assert second == {
        str(b): {"logprob": -0.1, "rank": 1, "decoded_token": "b"},
        str(a): {"logprob": -3.0, "rank": 7, "decoded_token": "a"},
    }
