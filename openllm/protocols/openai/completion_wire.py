"""The answer to a request for text completions: choices and chunks, echoed prompts, the legacy
logprobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from openllm.answer.generation import Generation
from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.running import total_usage
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.logprobs import TextLogprobs, prompt_table
from openllm.protocols.openai.params import Handling, StreamOptions
from openllm.protocols.openai.shapes import chunk_end, ending, head, last_frame, usage_object
from openllm.types import AnswerDelta, CompletionOutput, GenerationOutput, Usage

_encode = msgspec.json.encode


@attrs.frozen
class CompletionRequest:
    """A parsed body.

    `scored`: nothing is asked but the prompt's own logprobs, so the engine's one token is dropped.
    `tabled`: the answer has vLLM's `prompt_logprobs`.
    """

    model: str | None
    prompts: list[str | list[int]]
    overrides: dict[str, Any]
    stream: StreamOptions
    logprobs: int | None
    echo: bool
    scored: bool
    tabled: bool
    add_special_tokens: bool
    n: int
    suffix: str | None  # the answer stands before it
    best_of: int | None  # so many are made, and the `n` likeliest shown
    asked: Handling


class CompletionWire:
    """The answer to one completion request."""

    def __init__(self, request: CompletionRequest, target: Target, exchange: Exchange) -> None:
        self._request = request
        self._llm = target.llm
        self._n = request.n
        created, request_id = exchange.created, exchange.request_id
        self._head = head("cmpl", "text_completion", target, created, request_id)
        self._logprobs: dict[int, TextLogprobs] = {}
        self._so_far, self._token_ids = request.stream.usage_so_far, request.asked.token_ids
        self._plain = request.logprobs is None and not (self._so_far or self._token_ids)
        self._generations: Sequence[Generation] = ()
        # By prompt: what came before the logprobs of a prompt that is to be echoed with them.
        self._held: dict[int, list[AnswerDelta]] = {}
        self._echoes_later = request.echo and request.logprobs is not None
        if self._echoes_later:
            self._held = {at: [] for at in range(len(request.prompts))}
        if request.stream.stream:
            self._cut_frames(self._n * len(request.prompts))

    def admit(self, generations: Sequence[Generation]) -> None:
        """What the answer is made of."""
        self._generations = generations

    def _cut_frames(self, choices: int) -> None:
        self._start = b"data: " + _encode(self._head)[:-1]
        self._texts = [
            b'%s,"choices":[{"index":%d,"text":' % (self._start, at) for at in range(choices)
        ]
        self._end = b',"usage":null}\n\n' if self._request.stream.include_usage else b"}\n\n"
        self._after_text = b',"logprobs":null,"finish_reason":null}]' + self._end

    def opening(self) -> bytes:
        """With echo, each choice's prompt, unless its logprobs are still to come; and its ids."""
        if (self._request.echo and not self._echoes_later) or self._token_ids:
            return b"".join(self._prompt_frame(at) for at in range(len(self._texts)))
        return b""

    def _prompt_frame(self, at: int, logprobs: dict[str, Any] | None = None) -> bytes:
        """The chunk of choice `at` that is about its prompt."""
        prompt = at // self._n
        text = self._prompt_text(self._request.prompts[prompt]) if self._request.echo else ""
        rest: dict[str, Any] = {"logprobs": logprobs, "finish_reason": None}
        if self._token_ids:
            rest["prompt_token_ids"] = self._generations[prompt].prompt_token_ids
        return self._frame(at, text if logprobs or not self._echoes_later else "", rest)

    def _frame(self, at: int, text: str, rest: dict[str, Any]) -> bytes:
        after = b"," + _encode(rest)[1:] + b"]" + self._close()
        return self._texts[at] + _encode(text) + after

    def _close(self) -> bytes:
        """What stands behind the choices of a chunk."""
        if not self._so_far:
            return self._end
        return chunk_end([generation.usage for generation in self._generations])

    def delta(self, delta: AnswerDelta) -> bytes:
        if delta.finish_reason is None and self._plain:
            return (
                self._texts[delta.index] + _encode(delta.text) + self._after_text
                if delta.text
                else b""
            )
        if self._held:
            return self._after_prompt(delta)
        return self._whole_delta(delta)

    def _after_prompt(self, delta: AnswerDelta) -> bytes:
        """As `_whole_delta`, held back until the logprobs of its prompt are known: they come with
        the first choice of a prompt, and another may be sooner.
        """
        prompt = delta.index // self._n
        held = self._held.get(prompt)
        if held is None:
            return self._whole_delta(delta)
        held.append(delta)
        if delta.prompt_logprobs is None:
            return b""
        frames = b""
        first = self._generations[prompt].prompt_token_ids[0]
        for at in range(prompt * self._n, (prompt + 1) * self._n):
            lists = self._lists(at).encode(delta.prompt_logprobs, first)
            frames += self._prompt_frame(at, lists)
        del self._held[prompt]
        return frames + b"".join(map(self._whole_delta, held))

    def _whole_delta(self, delta: AnswerDelta) -> bytes:
        logprobs = None
        if self._request.logprobs is not None and delta.logprobs:
            logprobs = self._lists(delta.index).encode(delta.logprobs)
        shows_ids = self._token_ids and bool(delta.token_ids)
        if not (delta.text or logprobs or delta.finish_reason or shows_ids):
            return b""
        rest = {"logprobs": logprobs, **ending(delta)}
        if shows_ids:
            rest["token_ids"] = delta.token_ids
        return self._frame(delta.index, delta.text, rest)

    def closing(self, usage: Usage) -> bytes:
        if not self._request.stream.include_usage:
            return OPENAI.end
        return self._start + last_frame(usage)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        choice = self._scored_choice if self._request.scored else self._choice
        choices = [
            choice(at * self._n, prompt, output, item)
            for at, (prompt, output) in enumerate(zip(self._request.prompts, outputs, strict=True))
            for item in self._best(output.outputs)
        ]
        usage = total_usage([output.usage for output in outputs])
        if self._request.scored:
            usage = Usage(usage.prompt_tokens, 0, usage.cached_tokens)
        return _encode({**self._head, "choices": choices, "usage": usage_object(usage)})

    def _best(self, choices: Sequence[CompletionOutput]) -> Sequence[CompletionOutput]:
        """The `n` choices whose tokens were the likeliest, on average; all where none are over."""
        if self._request.best_of is None:
            return choices
        ranked = sorted(choices, key=_likelihood, reverse=True)[: self._n]
        return [attrs.evolve(choice, index=at) for at, choice in enumerate(ranked)]

    def _scored_choice(
        self, base: int, prompt: str | list[int], output: GenerationOutput, choice: CompletionOutput
    ) -> dict[str, Any]:
        """The choice without the one token that the engine had to make."""
        empty = attrs.evolve(
            choice,
            text="",
            token_ids=[],
            finish_reason="length",
            stop_reason=None,
            logprobs=choice.logprobs and [],
        )
        return self._choice(base, prompt, output, empty)

    def _choice(
        self, base: int, prompt: str | list[int], output: GenerationOutput, choice: CompletionOutput
    ) -> dict[str, Any]:
        echoed = self._prompt_text(prompt) if self._request.echo else ""
        logprobs = None
        if self._request.logprobs is not None:
            before = output.prompt_logprobs or [] if self._request.echo else []
            first = output.prompt_token_ids[0] if before else None
            logprobs = self._lists(base + choice.index).encode(
                [*before, *(choice.logprobs or [])], first
            )
        found: dict[str, Any] = {
            "index": base + choice.index,
            "text": echoed + choice.text,
            "logprobs": logprobs,
            **ending(choice),
        }
        if self._token_ids:
            found["prompt_token_ids"] = output.prompt_token_ids
            found["token_ids"] = choice.token_ids
        if self._request.tabled and output.prompt_logprobs is not None:
            found["prompt_logprobs"] = prompt_table(self._llm.token_table, output.prompt_logprobs)
        return found

    def _lists(self, index: int) -> TextLogprobs:
        if index not in self._logprobs:
            self._logprobs[index] = TextLogprobs(self._llm.token_table, self._request.logprobs or 0)
        return self._logprobs[index]

    def _prompt_text(self, prompt: str | list[int]) -> str:
        if isinstance(prompt, str):
            return prompt
        return str(self._llm.decoding_tokenizer.decode(prompt, skip_special_tokens=False))


def _likelihood(choice: CompletionOutput) -> float:
    """The mean log probability of the choice's tokens."""
    found = [item.logprob for item in choice.logprobs or ()]
    return sum(found) / len(found) if found else 0.0
