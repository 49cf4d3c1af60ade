"""Texts as token ids, made in pieces that begin with a special token and are remembered, so that
only what is new of a conversation is tokenized.
"""

from __future__ import annotations

import re
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

REMEMBERED = 8 * 2**20  # characters of all pieces together
_SHARE = 8  # a piece of more than this part of them is not remembered
_PROBED = 8  # special tokens that are tried before any is cut at
_PROBES = ("A b\n c", " ", "", "é  x")

# Texts to the ids of each, without special tokens added.
Encode = Callable[[Sequence[str]], list[list[int]]]


class Pieces:
    """Token ids of texts, equal to those of the whole text at once.

    A fast tokenizer (tokenizers.Tokenizer) looks for its special tokens first and tokenizes what
    is between them apart, so a text may be cut before a special token that takes nothing from what
    is before it (`AddedToken.lstrip`, `normalized`), unless one looks at the character behind it
    (`single_word`). That it is so is tried with a few texts; if it is not, texts are not cut. Safe
    to use from several threads.
    """

    def __init__(self, tokenizer: Any, encode: Encode, remembered: int = REMEMBERED) -> None:
        self._encode = encode
        self._room = self._most = remembered  # characters
        self._known: OrderedDict[str, array[int]] = OrderedDict()  # the least used first
        self._lock = threading.Lock()
        added = [
            token
            for token in tokenizer.get_added_tokens_decoder().values()
            if token.content and not token.normalized
        ]
        self._border = _border(added)
        self._cut_before = frozenset(token.content for token in added if not token.lstrip)
        if any(token.single_word for token in added) or not self._holds():
            self._cut_before = frozenset()

    def ids(self, text: str) -> list[int]:
        """The token ids of `text`, without special tokens added."""
        pieces = self._cut(text)
        known = self._recall(pieces)
        new = [piece for piece, ids in known.items() if ids is None]
        if new:
            for piece, ids in zip(new, self._encode(new), strict=True):
                known[piece] = array("I", ids)
            self._remember(new, known)
        found: list[int] = []
        for piece in pieces:
            found.extend(known[piece] or ())
        return found

    def _cut(self, text: str) -> list[str]:
        if not self._cut_before:
            return [text]
        starts = [
            match.start()
            for match in self._border.finditer(text)
            if match.start() and match.group() in self._cut_before
        ]
        return [text[start:end] for start, end in zip([0, *starts], [*starts, None], strict=True)]

    def _recall(self, pieces: Sequence[str]) -> dict[str, array[int] | None]:
        with self._lock:
            known = {piece: self._known.get(piece) for piece in pieces}
            for piece, ids in known.items():
                if ids is not None:
                    self._known.move_to_end(piece)
        return known

    def _remember(self, pieces: Sequence[str], known: dict[str, array[int] | None]) -> None:
        with self._lock:
            for piece in pieces:
                ids = known[piece]
                if ids is None or piece in self._known or len(piece) > self._most // _SHARE:
                    continue
                self._known[piece] = ids
                self._room -= len(piece)
            while self._room < 0:
                self._room += len(self._known.popitem(last=False)[0])

    def _holds(self) -> bool:
        """Whether texts may be cut, as far as some of them tell."""
        tokens = sorted(self._cut_before)[:_PROBED]
        text = "".join(token + probe for token in tokens for probe in _PROBES)
        pieces = self._cut(text)
        whole, *apart = self._encode([text, *pieces])
        return whole == [token for ids in apart for token in ids]


def _border(added: Sequence[Any]) -> re.Pattern[str]:
    """Finds special tokens in a text as a tokenizer does: from the left, the longest first."""
    contents = sorted({token.content for token in added}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, contents)))
