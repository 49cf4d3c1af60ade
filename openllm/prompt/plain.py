"""Tokenizers that have no fast form (the tokenizers library's), with the few calls of one that
answers need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from openllm.answer.text import PlainTokenizer


@attrs.frozen
class _Encoding:
    ids: list[int]


@attrs.frozen
class _Added:
    content: str
    special: bool


class SlowTokenizer(PlainTokenizer):
    """A transformers tokenizer written in Python: of bytes (ByT5), of code that a model's directory
    brings along, of mistral-common.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        text: str = self._tokenizer.decode(
            list(token_ids),
            skip_special_tokens=skip_special_tokens,
            clean_up_tokenization_spaces=False,
        )
        return text

    def encode(self, text: str, add_special_tokens: bool = True) -> _Encoding:
        found = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return _Encoding([int(token) for token in found])

    def get_added_tokens_decoder(self) -> Mapping[int, _Added]:
        added: Mapping[int, Any] = getattr(self._tokenizer, "added_tokens_decoder", {})
        special = set(self._tokenizer.all_special_ids)
        return {
            token_id: _Added(token.content, token.special or token_id in special)
            for token_id, token in added.items()
        }

    def id_to_token(self, token_id: int) -> str | None:
        found = self._tokenizer.convert_ids_to_tokens(token_id)
        return found if isinstance(found, str) else None

    def token_bytes(self, token_id: int) -> bytes:
        """What one token adds to a text: of a single byte, which is no text by itself, that."""
        text = self.decode([token_id], skip_special_tokens=False)
        if text and "\ufffd" not in text:
            return text.encode()
        token = self.id_to_token(token_id)
        if token is not None and len(token) == 1 and ord(token) < 256:
            return bytes([ord(token)])
        return text.encode()
