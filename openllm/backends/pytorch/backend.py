"""The PyTorch engine as a `Backend`: the asyncio side of `Engine`."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from openllm.backends.base import Backend, BackendInfo, Embeddings, EngineStats, Logits
from openllm.backends.lease import Lease
from openllm.backends.pytorch.facts import FACTS
from openllm.backends.pytorch.lora.mounts import BASE, Mounts
from openllm.backends.pytorch.options import refuse_unsupported, refuse_without_gpu
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ContextLengthExceeded, EngineDead, InvalidRequest, UnsupportedFeature
from openllm.media.looking import WORKERS, look_again
from openllm.types import EncodedText, PromptImages, Running, Sink, TokenDelta, TokenRequest

if TYPE_CHECKING:
    from openllm.backends.pytorch.engine import Engine
    from openllm.backends.pytorch.loading.loader import LoadedModel
    from openllm.backends.pytorch.sequence import Job, Sight
    from openllm.backends.pytorch.started import StartedModel

NEEDED = ("torch", "transformers", "numpy")
INSTALL = "pip install torch transformers accelerate peft xgrammar"


@attrs.frozen
class _Submitted:
    """One request, as whoever reads it sees it."""

    engine: Engine
    job: Job

    def cancel(self) -> None:
        self.engine.cancel(self.job)

    def stop(self, index: int) -> None:
        self.engine.stop(self.job, index)


class PyTorchBackend(Backend):
    """Continuous batching on transformers; see the package's docstring for its parts."""

    facts = FACTS

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, settings)
        self._loaded: LoadedModel | None = None
        self._started: StartedModel | None = None
        self._mounts = Mounts()

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        return f"{missing[0]} is not installed ({INSTALL})." if missing else None

    @classmethod
    def check_options(
        cls, spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
    ) -> None:
        refuse_unsupported(spec)
        refuse_without_gpu(spec, settings.visible_devices)

    async def start(self) -> None:
        if self._started is None:
            self._mounts = Mounts()
            self._started = await asyncio.to_thread(self._assemble)

    def _assemble(self) -> StartedModel:
        from openllm.backends.pytorch.started import assemble

        return assemble(self.spec, self.weights_dir, self._load())

    def _load(self) -> LoadedModel:
        from openllm.backends.pytorch.loading.loader import load_model

        if self._loaded is None:
            self._loaded = load_model(self.spec, self.weights_dir)
        return self._loaded

    def load_model(self) -> Any:
        return self._load().model

    @property
    def info(self) -> BackendInfo:
        return self._running().info

    def _running(self) -> StartedModel:
        if self._started is None:
            raise EngineDead("The engine is not running.", hint="Start it first.")
        return self._started

    # Generating

    def check(self, request: TokenRequest) -> None:
        info, params = self._running().info, request.params
        self._running().require_engine()
        if not request.prompt_token_ids:
            raise InvalidRequest("The prompt is empty.", param="prompt")
        ids = [*request.prompt_token_ids, *params.logit_bias, *params.stop_token_ids]
        if min(ids) < 0 or max(ids) >= info.vocab_size:
            raise InvalidRequest(
                f"A token id is outside the vocabulary of {info.vocab_size}.", param="prompt"
            )
        total = len(request.prompt_token_ids) + (params.max_tokens or 1)
        if total > info.max_model_len:
            raise ContextLengthExceeded(
                f"The prompt and max_tokens make {total} tokens; the model has"
                f" {info.max_model_len}.",
                param="max_tokens",
            )
        if params.n > info.max_concurrency * 64:
            raise InvalidRequest(f"n {params.n} is too many choices.", param="n")
        if request.images is not None:
            self._running().require_processor()
            if request.images.end >= len(request.prompt_token_ids):
                raise InvalidRequest(
                    "The prompt ends with an image.",
                    hint="Say something behind it.",
                    param="prompt",
                )
        if params.prompt_logprobs is not None and self._is_encoder_decoder():
            raise UnsupportedFeature(
                "An encoder-decoder model has no prompt logprobs.", param="prompt_logprobs"
            )

    def _is_encoder_decoder(self) -> bool:
        return self._loaded is not None and bool(self._loaded.model.config.is_encoder_decoder)

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        if request.adapter is None:
            return await self._begin(request, BASE, sink)
        key = self._mounts.hold(request.adapter)
        lease = Lease(sink, request.params.n, partial(self._mounts.release, key))
        return await lease.begin(partial(self._begin, request, key))

    async def _begin(self, request: TokenRequest, adapter: int, sink: Sink[TokenDelta]) -> Running:
        from openllm.backends.pytorch.sequence import Job

        started = self._running()
        engine = started.require_engine()
        sight = None if request.images is None else await self._look(request.images)
        grammar = await started.compile(request.params.structure)
        job = Job(request, sink, asyncio.get_running_loop(), adapter, grammar, sight)
        try:
            engine.submit(job)
        except BaseException:
            job.release()
            raise
        return _Submitted(engine, job)

    async def _look(self, images: PromptImages) -> Sight:
        """The images as the model takes them. Errors: InvalidRequest."""
        from openllm.backends.pytorch.sequence import Sight

        features = images.features
        if features is None:
            processor = self._running().require_processor()
            work = partial(look_again, processor, images)
            features = (await asyncio.get_running_loop().run_in_executor(WORKERS, work)).features
        return Sight(images.key, images.end, features)

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        return await self._running().embed(prompts, pooling, skip)

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        return await self._running().classify(inputs)

    # Adapters

    async def mount_adapter(self, name: str, path: Path) -> None:
        """Errors: WeightsError when the files do not fit the model."""
        from openllm.backends.pytorch.lora.adapters import load_adapter

        started = self._running()
        started.require_engine()
        adapter = await asyncio.to_thread(load_adapter, path)
        key = self._mounts.new_key()
        await started.mount(key, adapter)
        await self.unmount_adapter(name)
        self._mounts.add(name, key)

    async def unmount_adapter(self, name: str) -> None:
        started = self._running()
        key = await self._mounts.remove(name)
        if key is not None:
            await started.unmount(key)

    # Health

    def stats(self) -> EngineStats:
        engine = self._started.engine if self._started is not None else None
        return engine.stats() if engine is not None else EngineStats()

    @property
    def failure(self) -> str | None:
        engine = self._started.engine if self._started is not None else None
        return engine.failure if engine is not None else None

    async def close(self) -> None:
        started, self._started = self._started, None
        loaded = self._loaded is not None
        self._loaded = None  # its layers were made products of: the next start reads it anew
        if started is not None:
            await asyncio.to_thread(started.close)
            started.grammars.close()
        started = None  # or the model would still be held here
        if loaded:
            from openllm.backends.pytorch.started import return_memory

            await asyncio.to_thread(return_memory)


BACKEND = PyTorchBackend
