"""The vLLM engine behind the `Backend` contract: a thin caller of AsyncLLM.

What stands between a reader and the engine itself, per step and request: the engine core's process
packs one msgpack frame per step; one task of the event loop unpacks it and puts one `TokenDelta`
per request into its reader's queue (openllm.backends.vllm.stream); the reader's task wakes once.
Nothing is detokenised, copied or joined here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec

from openllm.backends.base import Backend, BackendInfo, Embeddings, EngineStats
from openllm.backends.vllm.deltas import Wish
from openllm.backends.vllm.embedding import embed_prompts
from openllm.backends.vllm.failures import RESTART, request_errors, translate
from openllm.backends.vllm.launch import Launched, engine_args_class, launch
from openllm.backends.vllm.params import choices_asked, sampling_params
from openllm.backends.vllm.stats import StatsBoard
from openllm.backends.vllm.stream import Sink
from openllm.backends.vllm.structure import compacted
from openllm.backends.vllm.usable import unpackable, unusable
from openllm.config.spec import LLMSpec
from openllm.errors import (
    EngineDead,
    InvalidRequest,
    MissingDependency,
    Overloaded,
    UnsupportedFeature,
    option,
)
from openllm.types import EngineRequest, Take, TokenDelta

_COMPILE_SECONDS = 10.0  # for a schema or grammar, off the event loop


@attrs.define(eq=False)
class _Live:
    """One request while the engine has it."""

    name: str  # the caller's request id; not always unique
    key: str  # ours
    choices: int
    internal_id: str | None = None  # vLLM's; None until it has the request


class VLLMBackend(Backend):
    """vLLM 0.26 to 0.33 on CUDA, ROCm or the CPU."""

    name = "vllm"
    supports_adapters = True
    uniform_adapters = True
    supports_embeddings = True

    def __init__(self, spec: LLMSpec, weights_dir: Path) -> None:
        super().__init__(spec, weights_dir)
        self._launched: Launched | None = None
        self._board = StatsBoard()
        self._live: dict[str, _Live] = {}
        self._held = 0  # choices of all of them
        self._numbers = itertools.count()
        self._aborts: set[asyncio.Task[None]] = set()

    @classmethod
    def unusable(cls, spec: LLMSpec) -> str | None:
        return unusable(spec)

    @classmethod
    def unpackable(cls, spec: LLMSpec) -> str | None:
        return unpackable(spec)

    @classmethod
    def broken(cls, spec: LLMSpec) -> str | None:
        try:
            engine_args_class(spec)
        except MissingDependency as error:
            return str(error)
        return None

    async def start(self) -> None:
        if self._launched is not None:
            return
        # made on a thread, because it blocks; what it runs on this loop begins with the two lines
        # below
        self._launched = await asyncio.to_thread(launch, self.spec, self.weights_dir, self._board)
        # now, or the death of an idle engine would go unseen
        self._launched.engine._run_output_handler()
        await self._launched.engine.get_supported_tasks()

    @property
    def info(self) -> BackendInfo:
        return self._running().info

    def _running(self) -> Launched:
        if self._launched is None:
            raise EngineDead(
                "The engine has not been started, or was closed.", hint="Start it first."
            )
        return self._launched

    def check(self, request: EngineRequest) -> None:
        params, config = request.params, self._running().config
        most = config.model_config.max_logprobs
        for name in ("logprobs", "prompt_logprobs"):
            asked = getattr(params, name)
            if asked is not None and -1 < most < asked:
                raise InvalidRequest(f"{name} must be at most {most}, got {asked}.", param=name)
        if config.speculative_config is not None and (params.min_p > 0 or params.logit_bias):
            raise UnsupportedFeature(
                "vLLM cannot do min_p or logit_bias with a speculative model.", param="min_p"
            )
        chunked = (
            config.scheduler_config.enable_chunked_prefill
            and config.device_config.device_type == "cpu"
        )
        if chunked and params.seed is not None and params.temperature > 0:
            raise UnsupportedFeature(
                "vLLM on a CPU cannot follow a seed where prompts are cut into chunks.",
                hint=(
                    "Start it without max_num_batched_tokens and enable_chunked_prefill, or leave"
                    " the seed out."
                ),
                param="seed",
            )

    async def generate(
        self, request: EngineRequest, take: Take | None = None
    ) -> AsyncGenerator[TokenDelta]:
        params = request.params
        left = asked = choices_asked(params)
        launched = self._admit(params.n)
        live = _Live(request.request_id, f"{next(self._numbers)}", asked)
        sink = launched.sinks[live.key] = Sink(Wish.of(params), take)
        self._live[live.key] = live
        self._held += asked
        try:
            await self._submit(request, live)
            while left:
                delta = await sink.deltas.get()
                if delta.finish_reason is not None:
                    left -= 1
                yield delta
                for index in range(asked, params.n):  # greedy choices are all the same
                    yield msgspec.structs.replace(delta, index=index, prompt_logprobs=None)
        finally:
            del self._live[live.key], launched.sinks[live.key]
            self._held -= asked
            if left and self._launched is launched:
                await _abort(launched, live)

    def _admit(self, choices: int) -> Launched:
        """Errors: Overloaded when the queue is full, EngineDead."""
        launched = self._running()
        if self.failure is not None:
            raise EngineDead(f"The vLLM engine has stopped: {self.failure}.", hint=RESTART)
        held = self._held
        if held and held + choices > launched.info.max_concurrency + self.spec.max_queue:
            waiting = max(held - launched.info.max_concurrency, 0)
            raise Overloaded(f"{waiting} requests are waiting already.", hint="Try again later.")
        return launched

    async def _submit(self, request: EngineRequest, live: _Live) -> None:
        """Hand the request to vLLM. Errors: InvalidRequest, AdapterNotFound, EngineDead."""
        launched = self._running()
        adapter = launched.adapters.find(request.adapter)
        prompt: Any = {"type": "token", "prompt_token_ids": request.prompt_token_ids}
        try:
            sampling = sampling_params(request.params)
            if request.params.structure is not None:
                prompt = await self._processed(request, live, adapter)
                sampling = prompt.sampling_params
            collector = await launched.engine.add_request(
                live.key, prompt, sampling, lora_request=adapter
            )
        except request_errors() as error:
            raise translate(error) from error
        live.internal_id = collector.request_id

    async def _processed(self, request: EngineRequest, live: _Live, adapter: Any) -> Any:
        """An EngineCoreRequest with a checked structure: that takes time, so on a thread, and
        limited.
        """
        engine = self._running().engine
        tasks = await engine.get_supported_tasks()
        params = request.params

        def process() -> Any:
            structure = params.structure and compacted(params.structure)
            sampling = sampling_params(attrs.evolve(params, structure=structure))
            prompt = {"type": "token", "prompt_token_ids": request.prompt_token_ids}
            make = engine.input_processor.process_inputs
            return make(live.key, prompt, sampling, supported_tasks=tasks, lora_request=adapter)

        try:
            return await asyncio.wait_for(asyncio.to_thread(process), _COMPILE_SECONDS)
        except TimeoutError:
            raise InvalidRequest(
                f"The structure takes longer than {_COMPILE_SECONDS:g} s to compile.",
                param="structure",
            ) from None

    def stop_choice(self, request_id: str, index: int) -> None:
        launched = self._launched
        live = next((live for live in self._live.values() if live.name == request_id), None)
        if launched is None or live is None or live.internal_id is None or live.choices == 1:
            return  # the only choice ends with its request
        child = f"{index}_{live.internal_id}"
        task = asyncio.get_running_loop().create_task(launched.engine.abort(child, internal=True))
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None
    ) -> Embeddings:
        if self.spec.task != "embed":
            raise UnsupportedFeature(
                "This engine was started to generate.",
                hint=f"Start it with {option('task', 'embed')}.",
            )
        launched = self._admit(len(prompts))
        keys = [f"{next(self._numbers)}" for _ in prompts]
        try:
            return await embed_prompts(launched, list(zip(keys, prompts, strict=True)), pooling)
        except request_errors() as error:
            raise translate(error) from error

    async def mount_adapter(self, name: str, path: Path) -> None:
        await self._running().adapters.mount(name, path)

    async def unmount_adapter(self, name: str) -> None:
        await self._running().adapters.unmount(name)

    def stats(self) -> EngineStats:
        return self._board.read(live=bool(self._live))

    @property
    def failure(self) -> str | None:
        dead = self._launched is not None and self._launched.engine.errored
        return "its process has ended" if dead else None

    async def close(self) -> None:
        launched, self._launched = self._launched, None
        if launched is None:
            return
        if not launched.engine.errored:
            held = [
                live.internal_id for live in self._live.values() if live.internal_id is not None
            ]
            await launched.engine.abort(
                held, internal=True
            )  # each ends with a last output, as cancelled
        if launched.engine.output_handler is not None:
            # else it reports the end of its engine as a failure
            launched.engine.output_handler.cancel()
        await asyncio.to_thread(launched.shut_down)


async def _abort(launched: Launched, live: _Live) -> None:
    """Free what the engine holds for a request whose reader is gone."""
    if live.internal_id is not None:
        await launched.engine.abort(live.internal_id, internal=True)
    else:  # the reader left while the request was on its way in
        await launched.engine.abort(live.key)
