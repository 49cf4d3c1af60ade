"""The tokens of one choice become text, and its text the parts of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from openllm.answer.parts import Parser, text_of, together
from openllm.answer.text import StopMatcher, StreamDecoder
from openllm.types import Part, SamplingParams, Text, TextDelta, TokenDelta

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@attrs.define(slots=True)
class ChoiceAssembler:
    """Turns the `TokenDelta`s of one choice into `TextDelta`s.

    Decoded text goes through `reasoning`, where there is one; what that takes for the answer's text
    is looked at for stop strings; what is left goes through `tools`.
    """

    tokenizer: Tokenizer | None
    params: SamplingParams
    prompt_token_ids: Sequence[int]
    # the model's own; a request's stop_token_ids come on top
    end_token_ids: frozenset[int] = frozenset()
    reasoning: Parser | None = None
    tools: Parser | None = None
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
        """What `delta` brings. A stop string inside it ends the choice there, with the tokens up to
        it.
        """
        if self.reasoning is not None or self.tools is not None:
            return self._feed_parts(delta)
        text = ""
        shown = self._shown(delta)
        for at, token_id in enumerate(delta.token_ids):
            self.tokens += 1
            piece = self._decoder.step(token_id) if self._decoder and at < shown else ""
            piece, stop = self._match(piece)
            text += piece
            if stop is not None:
                return self._cut(delta, text, at + 1, stop)
        if delta.finish_reason is None:
            return _text_delta(delta, text)
        self.finished = True
        rest, stop = self._match(self._decoder.flush() if self._decoder else "")
        if stop is not None:
            return self._cut(delta, text + rest, len(delta.token_ids), stop)
        return _text_delta(delta, text + rest + (self._stops.flush() if self._stops else ""))

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
        """What of `piece` is certain to stand before a stop string, and the one that is complete.

        The stop string is part of the text where the request wants to see it.
        """
        if self._stops is None or not piece:
            return piece, None
        if self.tokens <= self.params.min_tokens:
            return piece, None
        text, stop = self._stops.feed(piece)
        if stop is not None and self.params.include_stop:
            text += stop
        return text, stop

    # Where an answer is read for more than text.

    def _feed_parts(self, delta: TokenDelta) -> TextDelta:
        found: list[Part] = []
        shown = self._shown(delta)
        for at, token_id in enumerate(delta.token_ids):
            self.tokens += 1
            piece = self._decoder.step(token_id) if self._decoder and at < shown else ""
            stop = self._sift(self._thought(piece), found)
            if stop is not None:
                found += self._tools_flush()
                return self._cut(delta, text_of(found), at + 1, stop, found)
        if delta.finish_reason is None:
            return _text_delta(delta, text_of(found), together(found))
        self.finished = True
        rest = self._thought(self._decoder.flush() if self._decoder else "")
        if self.reasoning is not None:
            rest = [*rest, *self.reasoning.flush()]
        stop = self._sift(rest, found)
        if stop is None and self._stops is not None:
            found += self._called(self._stops.flush())
        found += self._tools_flush()
        if stop is not None:
            return self._cut(delta, text_of(found), len(delta.token_ids), stop, found)
        return _text_delta(delta, text_of(found), together(found))

    def _thought(self, piece: str) -> Sequence[Part]:
        if not piece:
            return ()
        return (Text(piece),) if self.reasoning is None else self.reasoning.feed(piece)

    def _sift(self, parts: Iterable[Part], found: list[Part]) -> str | None:
        """Add `parts` to `found`, calls of tools read out of their text; the stop string in it."""
        for part in parts:
            if not isinstance(part, Text):
                found.append(part)
                continue
            text, stop = self._match(part.text)
            found += self._called(text)
            if stop is not None:
                return stop
        return None

    def _called(self, text: str) -> Sequence[Part]:
        if not text:
            return ()
        return (Text(text),) if self.tools is None else self.tools.feed(text)

    def _tools_flush(self) -> Sequence[Part]:
        return () if self.tools is None else self.tools.flush()

    def _cut(
        self, delta: TokenDelta, text: str, size: int, stop: str, parts: Sequence[Part] = ()
    ) -> TextDelta:
        self.finished = True
        return TextDelta(
            text,
            delta.token_ids[:size],
            delta.index,
            "stop",
            stop,
            None if delta.logprobs is None else delta.logprobs[:size],
            delta.prompt_logprobs,
            delta.cached_tokens,
            None,
            together(parts),
        )


def _text_delta(delta: TokenDelta, text: str, parts: tuple[Part, ...] = ()) -> TextDelta:
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
        parts,
    )
