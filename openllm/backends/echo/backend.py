"""The echo engine: repeats the prompt, one token at a time; for tests, examples and measuring the
layers above.

`engine_args`: `delay` (seconds per token, default 0) and `die_after` (tokens of one request after
which the whole engine dies; for rehearsing what a supervisor sees).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec

from openllm.backends.base import Backend, BackendInfo, Embeddings, EngineStats, Logits
from openllm.backends.echo.facts import FACTS
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    EngineDead,
    Overloaded,
    UnsupportedFeature,
    field,
)
from openllm.types import (
    EncodedText,
    FinishReason,
    Running,
    Sink,
    TokenDelta,
    TokenLogprob,
    TokenRequest,
)
from openllm.weights.labels import label_names
from openllm.weights.resolve import read_config

OPTIONS = ("delay", "die_after")
EMBEDDING_SIZE = 16


class EchoBackend(Backend):
    """Answers with the prompt's own tokens, then ends; with `ignore_eos` it repeats them up to
    max_tokens.
    """

    facts = FACTS

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, settings)
        self._info: BackendInfo | None = None
        self._adapters: set[str] = set()
        self.check_options(spec, weights_dir, self.settings)
        self._delay = _number(spec, "delay")
        self._die_after = _number(spec, "die_after")
        self._answering: set[_Answering] = set()
        self._rooms = asyncio.Semaphore(spec.max_num_seqs or 1024)
        self._failure: str | None = None
        self._closed = False

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return None

    @classmethod
    def check_options(
        cls, spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
    ) -> None:
        if unknown := set(spec.engine_args) - set(OPTIONS):
            raise ConfigurationError(
                f"The echo backend has no option {min(unknown)!r}.",
                hint=f"It has {', '.join(OPTIONS)}.",
            )
        for name in OPTIONS:
            _number(spec, name)

    async def start(self) -> None:
        config = read_config(self.weights_dir)
        longest = int(config.get("max_position_embeddings") or config.get("n_positions") or 2048)
        eos = config.get("eos_token_id")
        ends = eos if isinstance(eos, list) else [eos]
        self._info = BackendInfo(
            max_model_len=min(self.spec.max_model_len or longest, longest),
            vocab_size=int(config.get("vocab_size", 2**31)),
            eos_token_ids=tuple(end for end in ends if end is not None),
            dtype="none",
            device="cpu",
            images=True,
        )
        self._closed = False

    @property
    def info(self) -> BackendInfo:
        if self._info is None:
            raise EngineDead("The engine has not been started.")
        return self._info

    def check(self, request: TokenRequest) -> None:
        if request.params.structure is not None:
            raise UnsupportedFeature(
                "The echo backend cannot follow a structure.", param="structure"
            )
        for name in ("allowed_token_ids", "bad_words"):
            if getattr(request.params, name):
                raise UnsupportedFeature(
                    f"The echo backend cannot do {field(name)}: it repeats the prompt.", param=name
                )

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        if request.adapter is not None and request.adapter not in self._adapters:
            raise AdapterNotFound(f"There is no adapter {request.adapter!r}.")
        waiting = self._choices(begun=False)
        if waiting >= self.spec.max_queue:
            raise Overloaded(f"{waiting} requests are waiting already.", hint="Try again later.")
        answering = _Answering(request, sink, self._answering)
        self._answering.add(answering)
        answering.task = asyncio.get_running_loop().create_task(self._answer(answering))
        return answering

    def _choices(self, *, begun: bool) -> int:
        return sum(
            one.request.params.n for one in self._answering if (one.begun is not None) is begun
        )

    async def _answer(self, answering: _Answering) -> None:
        try:
            async with self._rooms:
                answering.begun = time.monotonic()
                await self._echo(answering)
        except EngineDead as error:
            answering.sink.fail(error)
        finally:
            self._answering.discard(answering)

    async def _echo(self, answering: _Answering) -> None:
        request, sink = answering.request, answering.sink
        params, prompt = request.params, request.prompt_token_ids
        most = params.max_tokens or 0
        last = most if params.ignore_eos else min(most, max(len(prompt), params.min_tokens))
        end: FinishReason = "length"
        if not params.ignore_eos and last >= len(prompt):
            end = "stop"
        for at in range(last):
            await asyncio.sleep(self._delay)
            self._die_if_due(at)
            token = prompt[at % len(prompt)]
            stopped = token in params.stop_token_ids and at >= params.min_tokens
            reason = end if at + 1 == last else None
            if stopped:
                reason = "stop"
            if self._closed:
                reason = "cancelled"
            for index in range(params.n):
                delta = _delta(request, token, index, reason, stopped, first=at == 0)
                if at == 0:
                    delta = msgspec.structs.replace(delta, begun=answering.begun)
                sink.put(delta)
            if reason:
                return

    def _die_if_due(self, at: int) -> None:
        if self._die_after and at >= self._die_after:
            self._failure = f"it was told to die after {self._die_after:g} tokens"
        if self._failure:
            raise EngineDead(
                f"The echo engine has stopped: {self._failure}.", hint="Restart the service."
            )

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        """Counts of token ids modulo the size: equal texts have equal vectors, and that is all."""
        vectors = []
        for prompt in prompts:
            vector = [0.0] * EMBEDDING_SIZE
            for token in prompt[skip:]:
                vector[token % EMBEDDING_SIZE] += 1.0
            vectors.append(vector)
            await asyncio.sleep(0)  # others are served between two texts
        return Embeddings(vectors, sum(len(prompt) for prompt in prompts))

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        """As many logits as the configuration has labels: the share of the input's tokens that
        stand in it before, times the label's place, from 1.
        """
        count = len(label_names(read_config(self.weights_dir)))
        rows = []
        for one in inputs:
            repeated = 1 - len(set(one.token_ids)) / len(one.token_ids)
            rows.append([repeated * (at + 1) for at in range(count)])
        return Logits(rows, sum(len(one.token_ids) for one in inputs))

    async def mount_adapter(self, name: str, path: Path) -> None:
        self._adapters.add(name)

    async def unmount_adapter(self, name: str) -> None:
        self._adapters.discard(name)

    def stats(self) -> EngineStats:
        return EngineStats(self._choices(begun=True), self._choices(begun=False))

    @property
    def failure(self) -> str | None:
        return self._failure

    async def close(self) -> None:
        self._closed = True


def _number(spec: LLMSpec, key: str) -> float:
    value = spec.engine_args.get(key, 0)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"engine_args {key} must be a number, got {value!r}.", param=key
        ) from None


@attrs.define(eq=False)
class _Answering:
    """One request, among `others`."""

    request: TokenRequest
    sink: Sink[TokenDelta]
    others: set[_Answering]
    begun: float | None = None  # `time.monotonic()`
    task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        self.others.discard(self)
        if self.task is not None:
            self.task.cancel()

    def stop(self, index: int) -> None:
        """It runs out."""


def _delta(
    request: TokenRequest,
    token: int,
    index: int,
    reason: FinishReason | None,
    stopped: bool,
    *,
    first: bool,
) -> TokenDelta:
    params = request.params
    certain = [TokenLogprob(token, 0.0, 1, ((token, 0.0),) if params.logprobs else ())]
    prompt = None
    if first and index == 0 and params.prompt_logprobs is not None:
        rest = [TokenLogprob(item, 0.0, 1, ((item, 0.0),)) for item in request.prompt_token_ids[1:]]
        prompt = [None, *rest]
    return TokenDelta(
        [token],
        index,
        reason,
        token if stopped else None,
        certain if params.logprobs is not None else None,
        prompt,
    )


BACKEND = EchoBackend
