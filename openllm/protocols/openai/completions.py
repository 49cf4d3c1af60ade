"""POST /v1/completions: OpenAI's text completions; several prompts in one request, echo, the legacy
logprobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import read_prompts
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond, total_usage
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.logprobs import TextLogprobs, prompt_table
from openllm.protocols.openai.params import (
    StreamOptions,
    ignore_harmless,
    read_sampling,
    read_stream,
)
from openllm.protocols.openai.shapes import ending, head, last_frame, usage_object
from openllm.types import AnswerDelta, CompletionOutput, GenerationOutput, Usage

PATH = "/v1/completions"
DEFAULT_MAX_TOKENS = 16  # OpenAI's
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


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def complete(exchange: Exchange) -> None:
        request = read_completion(await exchange.fields(), settings)
        target = catalog.running(request.model, "generate")
        work = Work(
            target,
            request.prompts,
            request.overrides,
            request.stream.stream,
            add_special_tokens=request.add_special_tokens,
        )
        await respond(exchange, work, CompletionWire(request, target, exchange.created))

    return [Route(PATH, Endpoint(PATH, complete, OPENAI), methods=["POST"])]


def read_completion(fields: Fields, settings: Settings) -> CompletionRequest:
    """The body of a completion request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model = fields.text("model")
    prompts = read_prompts(fields, "prompt", settings)
    overrides = read_sampling(fields, settings)
    stream = read_stream(fields)
    logprobs = fields.integer("logprobs", 0, settings.max_logprobs)
    echo = fields.flag("echo")
    add_special_tokens = fields.flag("add_special_tokens", default=True)
    n = overrides.get("n", 1)
    if n * len(prompts) > max(settings.max_prompts, settings.max_n):
        fields.bad("n", f"{len(prompts)} prompts with {n} choices each are too many")
    fields.refuse("suffix", "Insertion is not supported; put the context into the prompt.", "")
    fields.refuse("best_of", "Ask for n choices and rank them by their logprobs.", n)
    ignore_harmless(fields)
    fields.close()
    request = CompletionRequest(
        model=model,
        prompts=prompts,
        overrides=overrides,
        stream=stream,
        logprobs=logprobs,
        echo=echo,
        scored=overrides.get("max_tokens") == 0,
        tabled="prompt_logprobs" in overrides,
        add_special_tokens=add_special_tokens,
    )
    _complete_overrides(request)
    return request


def _complete_overrides(request: CompletionRequest) -> None:
    """Fill in what follows from other fields, refusing what does not go together."""
    overrides, streamed = request.overrides, request.stream.stream
    if request.scored and (streamed or not (request.echo or request.tabled)):
        raise UnsupportedFeature(
            "max_tokens of 0 makes sense with echo or prompt_logprobs, and without stream only.",
            param="max_tokens",
        )
    overrides["max_tokens"] = overrides.get("max_tokens", DEFAULT_MAX_TOKENS) or 1
    if request.logprobs is not None:
        overrides["logprobs"] = request.logprobs
        if request.echo:
            overrides["prompt_logprobs"] = max(
                request.logprobs, overrides.get("prompt_logprobs", 0)
            )
    if streamed and "prompt_logprobs" in overrides:
        raise UnsupportedFeature(
            "Logprobs of the prompt cannot be streamed.",
            hint="Set stream to false.",
            param="prompt_logprobs",
        )


class CompletionWire:
    """The answer to one completion request."""

    def __init__(self, request: CompletionRequest, target: Target, created: int) -> None:
        self._request = request
        self._llm = target.llm
        self._n = request.overrides.get("n", 1)
        self._head = head("cmpl", "text_completion", target, created)
        self._logprobs: dict[int, TextLogprobs] = {}
        if request.stream.stream:
            self._cut_frames(self._n * len(request.prompts))

    def _cut_frames(self, choices: int) -> None:
        self._start = b"data: " + _encode(self._head)[:-1]
        self._texts = [
            b'%s,"choices":[{"index":%d,"text":' % (self._start, at) for at in range(choices)
        ]
        self._end = b',"usage":null}\n\n' if self._request.stream.include_usage else b"}\n\n"
        self._after_text = b',"logprobs":null,"finish_reason":null}]' + self._end

    def opening(self) -> bytes:
        """With echo, each choice's prompt."""
        if not self._request.echo:
            return b""
        prompts = [_encode(self._prompt_text(prompt)) for prompt in self._request.prompts]
        frames = (
            start + prompts[at // self._n] + self._after_text
            for at, start in enumerate(self._texts)
        )
        return b"".join(frames)

    def delta(self, delta: AnswerDelta) -> bytes:
        if delta.finish_reason is None and self._request.logprobs is None:
            return (
                self._texts[delta.index] + _encode(delta.text) + self._after_text
                if delta.text
                else b""
            )
        logprobs = None
        if self._request.logprobs is not None and delta.logprobs:
            logprobs = self._lists(delta.index).encode(delta.logprobs)
        if not (delta.text or logprobs or delta.finish_reason):
            return b""
        rest = {"logprobs": logprobs, **ending(delta)}
        return (
            self._texts[delta.index]
            + _encode(delta.text)
            + b","
            + _encode(rest)[1:]
            + b"]"
            + self._end
        )

    def closing(self, usage: Usage) -> bytes:
        if not self._request.stream.include_usage:
            return OPENAI.end
        return self._start + last_frame(usage)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        choice = self._scored_choice if self._request.scored else self._choice
        choices = [
            choice(at * self._n, prompt, output, item)
            for at, (prompt, output) in enumerate(zip(self._request.prompts, outputs, strict=True))
            for item in output.outputs
        ]
        usage = total_usage([output.usage for output in outputs])
        if self._request.scored:
            usage = Usage(usage.prompt_tokens, 0, usage.cached_tokens)
        return _encode({**self._head, "choices": choices, "usage": usage_object(usage)})

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
