"""Log probabilities in the shapes of the wire: chat's entries, completions' four lists, vLLM's
prompt tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openllm.answer.tokens import TokenTable
from openllm.http.framing import finite
from openllm.types import TokenLogprob


class ChatLogprobs:
    """One entry per token: the token, its bytes, and `top` alternatives."""

    def __init__(self, table: TokenTable, top: int) -> None:
        self._table = table
        self._top = top

    def encode(self, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """The `logprobs` object of a choice or of one chunk of it."""
        return {"content": [self._entry(item) for item in logprobs or ()], "refusal": None}

    def _entry(self, item: TokenLogprob) -> dict[str, Any]:
        top = [self._token(token, logprob) for token, logprob in item.top[: self._top]]
        return {**self._token(item.token_id, item.logprob), "top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        return {
            "token": self._table.text(token),
            "logprob": finite(logprob),
            "bytes": list(self._table.data(token)),
        }


class TextLogprobs:
    """Completions' lists, three of them where `top` is 0; `text_offset` counts characters in the
    choice's text, so one object serves one choice.
    """

    def __init__(self, table: TokenTable, top: int) -> None:
        self._table = table
        self._top = top
        self._offset = 0

    def encode(
        self, logprobs: Sequence[TokenLogprob | None], first: int | None = None
    ) -> dict[str, Any]:
        """The lists for the next tokens; `first` is the token id of a leading None (a prompt's
        first token).
        """
        lists: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for item in logprobs:
            token = item.token_id if item is not None else first or 0
            lists["tokens"].append(self._table.text(token))
            lists["token_logprobs"].append(None if item is None else finite(item.logprob))
            lists["top_logprobs"].append(None if item is None else self._best(item))
            lists["text_offset"].append(self._offset)
            self._offset += (
                0 if self._table.special(token) else _characters(self._table.data(token))
            )
        return lists if self._top else {**lists, "top_logprobs": None}

    def _best(self, item: TokenLogprob) -> dict[str, float]:
        best: dict[str, float] = {}
        for token, logprob in (*item.top[: self._top], (item.token_id, item.logprob)):
            best.setdefault(self._table.text(token), finite(logprob))
        return best


def _characters(data: bytes) -> int:
    """How many characters begin in `data`: every byte but UTF-8's continuation bytes."""
    return sum(byte & 0xC0 != 0x80 for byte in data)


def prompt_table(
    table: TokenTable, logprobs: Sequence[TokenLogprob | None]
) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: per token a map of token id to logprob, rank and text; None for the
    first.
    """
    return [None if item is None else _ranked(table, item) for item in logprobs]


def _ranked(table: TokenTable, item: TokenLogprob) -> dict[str, Any]:
    ranked = {token: (logprob, rank) for rank, (token, logprob) in enumerate(item.top, 1)}
    ranked.setdefault(item.token_id, (item.logprob, item.rank))
    return {
        str(token): {"logprob": finite(logprob), "rank": rank, "decoded_token": table.text(token)}
        for token, (logprob, rank) in ranked.items()
    }
