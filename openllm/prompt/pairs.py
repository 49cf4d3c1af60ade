"""Texts and pairs of texts for models that give labels, as their tokenizer joins them, cut where
that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from openllm.errors import UnsupportedFeature
from openllm.prompt.tokenizer import require_text, unbounded
from openllm.types import EncodedText

Side = Literal["start", "end"]  # of a text
_TYPES = "token_type_ids"


@attrs.frozen
class Pair:
    """Two texts that a model looks at together: a query and a document."""

    first: str
    second: str


Input = str | Sequence[int] | Pair


@attrs.frozen
class Cut:
    """How long an input may be, in tokens; None: as long as it is."""

    whole: int | None = None  # with its special tokens; of a pair the longer text loses first
    first: int | None = None  # of a pair, without special tokens
    second: int | None = None
    side: Side = "end"  # that is lost

    @property
    def parts(self) -> bool:
        return self.first is not None or self.second is not None


def encode_inputs(tokenizer: Any, inputs: Sequence[Input], cut: Cut) -> list[EncodedText]:
    """The token ids of each input, with the special tokens that the tokenizer adds; token ids are
    taken as they are. Errors: InvalidRequest, UnsupportedFeature.
    """
    written = [one for one in inputs if isinstance(one, str | Pair)]
    for one in written:
        for text in _texts(one):
            require_text(text)
    found = iter(_encode(tokenizer, written, cut))
    return [
        next(found) if isinstance(one, str | Pair) else EncodedText(_cut_ids(one, cut))
        for one in inputs
    ]


def _texts(one: str | Pair) -> list[str]:
    return [one] if isinstance(one, str) else [one.first, one.second]


def _cut_ids(token_ids: Sequence[int], cut: Cut) -> list[int]:
    if cut.whole is None:
        return list(token_ids)
    start = max(len(token_ids) - cut.whole, 0) if cut.side == "start" else 0
    return list(token_ids[start : start + cut.whole])


def _encode(tokenizer: Any, inputs: Sequence[str | Pair], cut: Cut) -> list[EncodedText]:
    backend = unbounded(tokenizer)
    if backend is None:
        return [_slowly(tokenizer, one, cut) for one in inputs]
    # One call for all: it holds no interpreter lock, and uses all cores.
    batch = [one if isinstance(one, str) else (one.first, one.second) for one in inputs]
    typed = _TYPES in tokenizer.model_input_names
    encoded = []
    found = backend.encode_batch(batch, add_special_tokens=True)
    for one, encoding in zip(inputs, found, strict=True):
        too_long = cut.whole is not None and len(encoding.ids) > cut.whole
        if too_long or (cut.parts and isinstance(one, Pair)):
            encoding = _shortened(backend, one, cut)
        encoded.append(_encoded(list(encoding.ids), list(encoding.type_ids) if typed else []))
    return encoded


def _shortened(backend: Any, one: str | Pair, cut: Cut) -> Any:
    """The tokenizers library's Encoding of an input without what is too much of it."""
    parts = [backend.encode(text, add_special_tokens=False) for text in _texts(one)]
    most = [cut.whole] if isinstance(one, str) else [cut.first, cut.second]
    sizes = [
        len(part.ids) if limit is None else min(len(part.ids), limit)
        for part, limit in zip(parts, most, strict=True)
    ]
    if cut.whole is not None:
        added = backend.num_special_tokens_to_add(len(parts) > 1)
        sizes = fitting(sizes, max(cut.whole - added, 0))
    for part, size in zip(parts, sizes, strict=True):
        part.truncate(size, direction="left" if cut.side == "start" else "right")
    return backend.post_process(*parts, add_special_tokens=True)


def fitting(sizes: Sequence[int], room: int) -> list[int]:
    """How much of one text or two is kept in `room` tokens: all of the shorter one as long as it
    leaves as much to the other; "longest_first" of the tokenizers library, to the token.
    """
    if sum(sizes) <= room:
        return list(sizes)
    if len(sizes) == 1:
        return [room]
    short = min(sizes)
    kept = [short, max(short, room - short)]
    if short > room or sum(kept) > room:
        kept = [room // 2, room // 2 + room % 2]
    return kept if sizes[0] <= sizes[1] else kept[::-1]


def _encoded(token_ids: list[int], types: Sequence[int]) -> EncodedText:
    """Errors: UnsupportedFeature for types that are not 0 up to some token and 1 from there on."""
    second = next((at for at, kind in enumerate(types) if kind), None)
    if second is not None and set(types[second:]) != {1}:
        raise UnsupportedFeature(
            "This model's tokenizer marks the two texts of a pair in a way that no engine here"
            " follows.",
            hint="Use a model with token types 0 and 1, or with none.",
        )
    return EncodedText(token_ids, second)


def _slowly(tokenizer: Any, one: str | Pair, cut: Cut) -> EncodedText:
    """As above, by a tokenizer that has no fast form."""
    if cut.parts:
        raise UnsupportedFeature(
            "This model's tokenizer cannot cut one text of a pair.",
            hint="Cut the pair as a whole.",
        )
    limits = {} if cut.whole is None else {"truncation": True, "max_length": cut.whole}
    found = tokenizer(*_texts(one), **limits)
    return _encoded([int(token) for token in found["input_ids"]], found.get(_TYPES) or [])
