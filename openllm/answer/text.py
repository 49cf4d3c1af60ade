"""Token ids to text, incrementally: a decoder that never splits a character, and a stop matcher
that holds back.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# tokens of the prompt the decoder sees, so that a leading space comes out as in the whole text
CONTEXT = 6
LONGEST_CHARACTER = (
    4  # bytes of one UTF-8 character: more undecodable tokens than that are no character at all
)


class PlainTokenizer(abc.ABC):
    """A tokenizer that decodes whole texts alone: what is asked of one that is not the tokenizers
    library's.
    """

    @abc.abstractmethod
    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of the ids; an incomplete character comes as U+FFFD."""

    @abc.abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one token adds to a text."""

    @abc.abstractmethod
    def get_added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id: `content`, and whether they are `special`."""


class StreamDecoder:
    """Decodes one choice token by token. The pieces joined equal the text; invalid bytes become
    U+FFFD.
    """

    __slots__ = ("_context", "_pending", "_skip", "_stream", "_tokenizer")

    def __init__(
        self,
        tokenizer: Tokenizer | PlainTokenizer,
        prompt_token_ids: Sequence[int] = (),
        skip_special_tokens: bool = True,
    ):
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._pending: list[int] = []
        self._restart(list(prompt_token_ids[-CONTEXT:]))

    def _restart(self, context: list[int]) -> None:
        self._context = context
        if isinstance(self._tokenizer, PlainTokenizer):
            return
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(ids=context, skip_special_tokens=self._skip)

    def step(self, token_id: int) -> str:
        """The text that `token_id` completes; "" while a character is incomplete."""
        tokenizer = self._tokenizer
        if isinstance(tokenizer, PlainTokenizer):
            return self._plain_step(tokenizer, token_id)
        try:
            piece = self._stream.step(tokenizer, token_id)
        except Exception as error:
            # The Rust decoder gives up when an earlier token's text changes with what follows it.
            # It has no class of its own to catch; anything else it raises is a defect and must be
            # seen.
            if "prefix" not in str(error).lower():
                raise
            self._pending.append(token_id)
            return self.flush()
        self._pending.append(token_id)
        if piece is None:
            return self.flush() if len(self._pending) > LONGEST_CHARACTER else ""
        self._context = [*self._context, *self._pending][-CONTEXT:]
        self._pending.clear()
        return piece

    def _plain_step(self, tokenizer: PlainTokenizer, token_id: int) -> str:
        self._pending.append(token_id)
        ids = [*self._context, *self._pending]
        text = tokenizer.decode(ids, skip_special_tokens=self._skip)
        incomplete = text.endswith("\ufffd") and len(self._pending) <= LONGEST_CHARACTER
        return "" if incomplete else self.flush()

    def flush(self) -> str:
        """What is held back, at the end of the text."""
        if not self._pending:
            return ""
        before = self._tokenizer.decode(self._context, skip_special_tokens=self._skip)
        after = self._tokenizer.decode(
            [*self._context, *self._pending], skip_special_tokens=self._skip
        )
        common = len(before) if after.startswith(before) else _shared(before, after)
        context = [*self._context, *self._pending][-CONTEXT:]
        self._pending.clear()
        self._restart(context)
        return after[common:]


def _shared(first: str, second: str) -> int:
    """The length of the common beginning of two texts."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )


class Beginnings:
    """How several words may begin: what to hold back of a text whose end may become one of them."""

    __slots__ = ("_known", "_longest", "letters")

    def __init__(self, words: Collection[str]) -> None:
        self._known = frozenset(word[:size] for word in words for size in range(1, len(word)))
        self._longest = max(map(len, self._known), default=0)
        self.letters = frozenset(word[0] for word in words)  # a text without these begins none

    def at_end(self, text: str) -> int:
        """The length of the longest end of `text` that begins a word, short of the whole word."""
        if self.letters.isdisjoint(text):  # as most tokens are: the loop is ten times dearer
            return 0
        for size in range(min(self._longest, len(text)), 0, -1):
            if text[-size:] in self._known:
                return size
        return 0


class StopMatcher:
    """Finds the first of several stop strings in a text that comes in pieces.

    What is found does not depend on how the text was cut: the match that ends first wins, the
    longest of those.
    """

    __slots__ = ("_begun", "_held", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._begun = Beginnings(stops)
        self._held = ""

    def feed(self, piece: str) -> tuple[str, str | None]:
        """Text that is certain to come before any stop, and the stop string if one is complete
        now.
        """
        text = self._held + piece
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            _, at, stop = min(found)
            self._held = ""
            return text[:at], stop
        keep = self._begun.at_end(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held
