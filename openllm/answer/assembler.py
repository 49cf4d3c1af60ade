"""The tokens of one choice become text, and its text the parts of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from openllm.answer.parts import Parser, text_of, together
from openllm.answer.text import StopMatcher, StreamDecoder
from openllm.types import AnswerDelta, Part, Reasoning, SamplingParams, Text, TokenDelta, ToolCall

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@attrs.define(slots=True)
class ChoiceAssembler:
    """Turns the `TokenDelta`s of one choice into `AnswerDelta`s.

    Decoded text goes through `reasoning`, where there is one; what that takes for the answer's text
    is looked at for stop strings; what is left goes through `tools`. The `marks` are the special
    tokens that the two look for: they see them, and the text does not show them.
    """

    tokenizer: Tokenizer | None
    params: SamplingParams
    prompt_token_ids: Sequence[int]
    # the model's own; a request's stop_token_ids come on top
    end_token_ids: frozenset[int] = frozenset()
    reasoning: Parser | None = None
    tools: Parser | None = None
    marks: Mapping[int, str] = attrs.field(factory=dict)  # token id -> what it stands for
    one_call: bool = False  # the choice ends where a second call begins
    # special tokens that a stop string of the request stands for: token id -> the string
    stop_marks: Mapping[int, str] = attrs.field(factory=dict)
    tokens: int = 0  # completion tokens so far
    reasoning_tokens: int = 0  # those of them between the marks of a thought
    finished: bool = False
    _decoder: StreamDecoder | None = None
    _stops: StopMatcher | None = None
    _marked: re.Pattern[str] | None = None
    _mark_letters: frozenset[str] = frozenset()  # a text without these has no mark in it

    def __attrs_post_init__(self) -> None:
        if self.marks:
            self._mark_letters = frozenset(mark[0] for mark in self.marks.values())
            self._marked = re.compile(f"({'|'.join(map(re.escape, self.marks.values()))})")
        if self.tokenizer is not None:
            self._decoder = StreamDecoder(
                self.tokenizer, self.prompt_token_ids, self.params.skip_special_tokens
            )
        if self.params.stop:
            self._stops = StopMatcher(self.params.stop)

    def feed(self, delta: TokenDelta) -> AnswerDelta:
        """What `delta` brings. A stop string inside it ends the choice there, with the tokens up to
        it.
        """
        if self.reasoning is not None or self.tools is not None:
            return self._feed_parts(delta)
        text = ""
        shown = self._shown(delta)
        for at, token_id in enumerate(delta.token_ids):
            self.tokens += 1
            piece = self._piece(token_id) if at < shown else ""
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

    def _feed_parts(self, delta: TokenDelta) -> AnswerDelta:
        if self._stops is None and len(delta.token_ids) == 1 and delta.finish_reason is None:
            return self._feed_token(delta)
        found: list[Part] = []
        shown = self._shown(delta)
        for at, token_id in enumerate(delta.token_ids):
            self.tokens += 1
            stop = self._sift(self._thought(self._piece(token_id) if at < shown else ""), found)
            if stop is not None:
                found += self._tools_flush()
                return self._cut_parts(delta, found, at + 1, stop)
            if self.one_call and (first := _before_second_call(found)) is not None:
                return self._cut_parts(delta, first, at + 1, None)
        if delta.finish_reason is None:
            return self._parts_delta(delta, found)
        self.finished = True
        rest = self._decoder.flush() if self._decoder else ""
        stop = self._sift(self._last_thought(rest), found)
        if stop is None and self._stops is not None:
            found += self._called(self._stops.flush())
        found += self._tools_flush()
        if self.one_call and (first := _before_second_call(found)) is not None:
            found = first
        if stop is not None:
            return self._cut_parts(delta, found, len(delta.token_ids), stop)
        return self._parts_delta(delta, found)

    def _feed_token(self, delta: TokenDelta) -> AnswerDelta:
        """The short way of most deltas: one token, and no stop string that it could be in."""
        self.tokens += 1
        piece = self._piece(delta.token_ids[0])
        found = self._found_in(piece)
        if self.one_call and (first := _before_second_call(found)) is not None:
            return self._cut_parts(delta, first, 1, None)
        if len(found) == 1:
            part = found[0] if self._marked is None else self._cleaned(found[0], self._marked)
            if part is not None:
                return _text_delta(delta, part.text if type(part) is Text else "", (part,))
        return self._parts_delta(delta, found)

    def _found_in(self, piece: str) -> Sequence[Part]:
        """The parts that a piece makes certain, where there are no stop strings."""
        if piece and _is_text(piece, self.reasoning):
            if self.tools is None or _is_text(piece, self.tools):
                return (Text(piece),)
            return self.tools.feed(piece)
        parts = self._thought(piece)
        if len(parts) == 1 and type(parts[0]) is Reasoning:
            return parts
        found: list[Part] = []
        self._sift(parts, found)
        return found

    def _piece(self, token_id: int) -> str:
        """The text that a token completes; that of a mark or of a stop string, whether special
        tokens are shown or not.
        """
        if self._decoder is None:
            return ""
        mark = self.marks.get(token_id)
        if mark is None and self.tokens > self.params.min_tokens:
            mark = self.stop_marks.get(token_id)
        return self._decoder.step(token_id) if mark is None else self._decoder.flush() + mark

    def _thought(self, piece: str) -> Sequence[Part]:
        """The parts that a token's piece makes certain, tokens within a thought counted."""
        reasoning = self.reasoning
        if reasoning is None:
            return (Text(piece),) if piece else ()
        thinking = reasoning.thinking
        parts = reasoning.feed(piece) if piece else ()
        if thinking and reasoning.thinking:
            self.reasoning_tokens += 1
        return parts

    def _last_thought(self, rest: str) -> Sequence[Part]:
        if self.reasoning is None:
            return (Text(rest),) if rest else ()
        return [*(self.reasoning.feed(rest) if rest else ()), *self.reasoning.flush()]

    def _sift(self, parts: Iterable[Part], found: list[Part]) -> str | None:
        """Add `parts` to `found`, calls of tools read out of their text; the stop string in it."""
        for part in parts:
            if not isinstance(part, Text):
                if self._stops is not None:
                    found += self._called(self._stops.flush())
                found.append(part)
                continue
            if self._stops is None:
                found += self._called(part.text)
                continue
            stop = self._search_between_marks(part.text, self._stops, found)
            if stop is not None:
                return stop
        return None

    def _search(self, text: str, found: list[Part]) -> str | None:
        text, stop = self._match(text)
        found += self._called(text)
        return stop

    def _search_between_marks(self, text: str, stops: StopMatcher, found: list[Part]) -> str | None:
        """A mark is no text that a stop string could be in."""
        if self._marked is None:
            return self._search(text, found)
        for at, piece in enumerate(self._marked.split(text)):
            if at % 2:
                found += self._called(stops.flush() + piece)
            elif piece and (stop := self._search(piece, found)) is not None:
                return stop
        return None

    def _called(self, text: str) -> Sequence[Part]:
        if not text:
            return ()
        return (Text(text),) if self.tools is None else self.tools.feed(text)

    def _tools_flush(self) -> Sequence[Part]:
        return () if self.tools is None else self.tools.flush()

    def _joined(self, found: Sequence[Part]) -> tuple[Part, ...]:
        """The parts together, without the marks that no parser took for one."""
        if self._marked is not None:
            found = [clean for part in found if (clean := self._cleaned(part, self._marked))]
        return tuple(found) if len(found) < 2 else together(found)

    def _cleaned(self, part: Part, marked: re.Pattern[str]) -> Part | None:
        if isinstance(part, ToolCall) or self._mark_letters.isdisjoint(part.text):
            return part
        text = marked.sub("", part.text)
        return type(part)(text) if text else None

    def _parts_delta(self, delta: TokenDelta, found: Sequence[Part]) -> AnswerDelta:
        parts = self._joined(found)
        return _text_delta(delta, text_of(parts), parts)

    def _cut_parts(
        self, delta: TokenDelta, found: Sequence[Part], size: int, stop: str | None
    ) -> AnswerDelta:
        parts = self._joined(found)
        return self._cut(delta, text_of(parts), size, stop, parts)

    def _cut(
        self,
        delta: TokenDelta,
        text: str,
        size: int,
        stop: str | None,
        parts: tuple[Part, ...] = (),
    ) -> AnswerDelta:
        self.finished = True
        return AnswerDelta(
            text,
            delta.token_ids[:size],
            delta.index,
            "stop",
            stop,
            None if delta.logprobs is None else delta.logprobs[:size],
            delta.prompt_logprobs,
            delta.cached_tokens,
            None,
            parts,
        )


def _is_text(piece: str, parser: Parser | None) -> bool:
    """Whether `parser` would take it for nothing but text."""
    if parser is None:
        return True
    letters: frozenset[str] | None = getattr(parser, "stirred_by", None)  # a `Reader` has it
    return letters is not None and (not letters or letters.isdisjoint(piece))


def _before_second_call(found: Sequence[Part]) -> list[Part] | None:
    """What of `found` stands before a choice's second call; None where there is none."""
    for at, part in enumerate(found):
        if isinstance(part, ToolCall) and part.index > 0:
            return list(found[:at])
    return None


def _text_delta(delta: TokenDelta, text: str, parts: tuple[Part, ...] = ()) -> AnswerDelta:
    return AnswerDelta(
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
