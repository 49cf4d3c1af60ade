"""Token ids to text, incrementally: a decoder that never splits a character, and a stop matcher
that holds back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from openllm.types import SamplingParams, TextDelta, TokenDelta, TokenLogprob

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# tokens of the prompt the decoder sees, so that a leading space comes out as in the whole text
CONTEXT = 6
LONGEST_CHARACTER = (
    4  # bytes of one UTF-8 character: more undecodable tokens than that are no character at all
)


class StreamDecoder:
    """Decodes one choice token by token. The pieces joined equal the text; invalid bytes become
    U+FFFD.
    """

    __slots__ = ("_context", "_pending", "_skip", "_stream", "_tokenizer")

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_token_ids: Sequence[int] = (),
        skip_special_tokens: bool = True,
    ):
        self._tokenizer = tokenizer
        self._skip = skip_special_tokens
        self._pending: list[int] = []
        self._restart(list(prompt_token_ids[-CONTEXT:]))

    def _restart(self, context: list[int]) -> None:
        from tokenizers.decoders import DecodeStream

        self._context = context
        self._stream = DecodeStream(ids=context, skip_special_tokens=self._skip)

    def step(self, token_id: int) -> str:
        """The text that `token_id` completes; "" while a character is incomplete."""
        try:
            piece = self._stream.step(self._tokenizer, token_id)
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


class StopMatcher:
    """Finds the first of several stop strings in a text that comes in pieces.

    What is found does not depend on how the text was cut: the match that ends first wins, the
    longest of those.
    """

    __slots__ = ("_held", "_longest", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in stops), default=0)
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
        keep = self._open_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def _open_stop(self, text: str) -> int:
        """The length of the longest end of `text` that begins a stop string."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held


@attrs.define(slots=True)
class ChoiceAssembler:
    """Turns the `TokenDelta`s of one choice into `TextDelta`s: decoding, stop strings, what the end
    token shows.
    """

    tokenizer: Tokenizer | None
    params: SamplingParams
    prompt_token_ids: Sequence[int]
    end_token_ids: frozenset[int] = (
        frozenset()
    )  # the model's own; a request's stop_token_ids come on top
    tokens: int = 0  # completion tokens so far
    finished: bool = False
    _decoder: StreamDecoder | None = None
    _stops: StopMatcher | None = None

    def __attrs_post_init__(self) -> None:
        if self.tokenizer is not None:
            self._decoder = StreamDecoder(
                self.tokenizer, self.prompt_token_ids, self.params.skip_special_tokens
            )
        if self.params.stop:
            self._stops = StopMatcher(self.params.stop)

    def feed(self, delta: TokenDelta) -> TextDelta:
        """The text of `delta`. A stop string inside it ends the choice there, with the tokens up to
        it.
        """
        text = ""
        shown = self._shown(delta)
        for at, token_id in enumerate(delta.token_ids):
            self.tokens += 1
            piece = self._decoder.step(token_id) if self._decoder and at < shown else ""
            piece, stop = self._match(piece)
            text += piece
            if stop is not None:
                return self._cut(
                    delta, text + (stop if self.params.include_stop else ""), at + 1, stop
                )
        if delta.finish_reason is None:
            return _text_delta(delta, text)
        self.finished = True
        return self._end(delta, text)

    def _shown(self, delta: TokenDelta) -> int:
        """How many of the delta's tokens have text: the token that ended the choice has none,
        unless asked for.
        """
        size = len(delta.token_ids)
        if delta.finish_reason != "stop" or not size or self.params.include_stop:
            return size
        last = delta.token_ids[-1]
        return size - (last in self.end_token_ids or last in self.params.stop_token_ids)

    def _match(self, piece: str) -> tuple[str, str | None]:
        if self._stops is None or not piece:
            return piece, None
        if self.tokens <= self.params.min_tokens:
            return piece, None
        return self._stops.feed(piece)

    def _end(self, delta: TokenDelta, text: str) -> TextDelta:
        rest, stop = self._match(self._decoder.flush() if self._decoder else "")
        text += rest
        if stop is not None:
            return self._cut(
                delta, text + (stop if self.params.include_stop else ""), len(delta.token_ids), stop
            )
        return _text_delta(delta, text + (self._stops.flush() if self._stops else ""))

    def _cut(self, delta: TokenDelta, text: str, size: int, stop: str) -> TextDelta:
        self.finished = True
        logprobs: list[TokenLogprob] | None = (
            delta.logprobs[:size] if delta.logprobs is not None else None
        )
        return TextDelta(
            text,
            delta.token_ids[:size],
            delta.index,
            "stop",
            stop,
            logprobs,
            delta.prompt_logprobs,
            delta.cached_tokens,
        )


def _text_delta(delta: TokenDelta, text: str) -> TextDelta:
    return TextDelta(
        text,
        delta.token_ids,
        delta.index,
        delta.finish_reason,
        delta.stop_reason,
        delta.logprobs,
        delta.prompt_logprobs,
        delta.cached_tokens,
        delta.error,
    )
