"""A text turned into token ids by the tokenizer of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from openllm.errors import InvalidRequest
from openllm.prompt.pieces import Pieces

_PROBES = ("a", "b c")


class TextEncoder:
    """Texts as token ids of one transformers tokenizer; what a text has in common with earlier ones
    is remembered (`Pieces`). Safe to use from several threads.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._fast is not None:
            self._pieces = Pieces(self._fast, self._encode)
            self._around = _added_around(self._encode)

    def ids(self, text: str, add_special_tokens: bool) -> list[int]:
        """The token ids of `text`, as one sequence that is neither cut nor padded. Errors:
        InvalidRequest.
        """
        require_text(text)
        if self._fast is None:
            ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
            return [int(token) for token in ids]
        if not add_special_tokens:
            return self._pieces.ids(text)
        if self._around is None:
            return self._encode([text], add_special_tokens=True)[0]
        before, after = self._around
        return [*before, *self._pieces.ids(text), *after]

    def _encode(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[list[int]]:
        fast = unbounded(self._tokenizer)
        # `encode` holds the interpreter lock (8 s for 4 MB); a batch does not, and is faster on
        # long texts.
        found = fast.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return [list(encoding.ids) for encoding in found]


def _added_around(encode: Callable[..., list[list[int]]]) -> tuple[list[int], list[int]] | None:
    """The special tokens that are added before and behind a text; None where they are not the same
    for any text.
    """
    inner, whole = encode(_PROBES), encode(_PROBES, add_special_tokens=True)
    found = [_around(*pair) for pair in zip(inner, whole, strict=True)]
    return found[0] if found.count(found[0]) == len(found) else None


def _around(inner: list[int], whole: list[int]) -> tuple[list[int], list[int]] | None:
    """What stands before and behind `inner` in `whole`; None where it is not in there."""
    for at in range(len(whole) - len(inner) + 1):
        if inner and whole[at : at + len(inner)] == inner:
            return whole[:at], whole[at + len(inner) :]
    return None


def require_text(text: str) -> None:
    """Errors: InvalidRequest for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The prompt holds half of a surrogate pair, which is no text.", param="prompt"
        ) from error


def unbounded(tokenizer: Any) -> Any:
    """The Rust tokenizer behind a transformers one, neither cutting nor padding; None for a
    tokenizer without one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (backend.truncation is not None or backend.padding is not None):
        # left on by whoever used the tokenizer last
        backend.no_truncation()
        backend.no_padding()
    return backend


def lower_case(tokenizer: Any) -> None:
    """Have `tokenizer` lower-case texts first, as `do_lower_case` of sentence-transformers does."""
    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        tokenizer.do_lower_case = True
        return
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def longest_token(tokenizer: Any) -> int:
    """Characters of the longest token; 0 where a token may stand for any length of text (unknown
    words).
    """
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if type(model).__name__ != "BPE" or (
        getattr(model, "unk_token", None) and not getattr(model, "byte_fallback", 0)
    ):
        return 0
    return max(map(len, tokenizer.get_vocab()), default=0)
