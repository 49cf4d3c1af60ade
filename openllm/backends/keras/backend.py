"""`Backend` over a KerasHub model: refuses what KerasHub cannot do, and hands the rest to the
engine's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from openllm.backends.base import Backend, BackendInfo, EngineStats
from openllm.backends.keras.engine import Capacity, KerasEngine
from openllm.backends.keras.families import OTHERS, end_tokens
from openllm.backends.keras.loader import DTYPES, foreign_framework, load_runtime, missing_packages
from openllm.backends.keras.runtime import Runtime
from openllm.backends.keras.schedule import Choice
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    EngineDead,
    InvalidRequest,
    UnsupportedCombination,
    UnsupportedFeature,
    field,
    option,
)
from openllm.types import Running, Sink, TokenDelta, TokenRequest

MAX_ROWS = 8  # choices decoded at once, unless the spec says otherwise
OPTIONS = ("verify",)  # of engine_args
# Spec field -> values that ask for nothing: anything else would be ignored here, so it is refused.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "task": ("generate",),
    "quantization": (None,),
    "gpu_memory_utilization": (None,),
    "kv_cache_memory": (None,),
    "kv_cache_dtype": (None, "auto"),
    "enable_prefix_caching": (None, False),
    "tensor_parallel_size": (None, 1),
    "pipeline_parallel_size": (None, 1),
    "data_parallel_size": (None, 1),
    "enable_expert_parallel": (None, False),
    "distributed_executor": (None,),
    "speculative_model": (None,),
    "enforce_eager": (None, False),
    "adapters": ((),),
    "max_adapters": (None,),
    "max_lora_rank": (None,),
}


@attrs.frozen
class _Submitted:
    """One request, as whoever reads it sees it."""

    engine: KerasEngine
    choices: list[Choice]

    def cancel(self) -> None:
        self.engine.give_up(self.choices)

    def stop(self, index: int) -> None:
        self.engine.give_up([self.choices[index]])


class KerasBackend(Backend):
    """Base of the backends 'tf' and 'flax'. `engine_args`: `verify` (default true; false skips the
    comparison with transformers at load time, which needs the model's memory a second time)."""

    framework: ClassVar[str]

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, settings)
        self._runtime: Runtime | None = None
        self._engine: KerasEngine | None = None
        self._info: BackendInfo | None = None
        self.check_options(spec, weights_dir, self.settings)

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return missing_packages(cls.framework) or foreign_framework(cls.framework)

    @classmethod
    def check_options(
        cls, spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
    ) -> None:
        """Errors: UnsupportedCombination, ConfigurationError for what this engine would have to
        ignore.
        """
        name = cls.facts.name
        for key, neutral in NEUTRAL.items():
            if (value := getattr(spec, key)) not in neutral:
                raise UnsupportedCombination(
                    f"The {name} backend has no {option(key)} (got {value!r}).",
                    hint=f"Leave it out, or take {OTHERS}.",
                    param=key,
                )
        if spec.dtype not in DTYPES:
            raise ConfigurationError(
                f"The {name} backend has no {option('dtype', spec.dtype)}.",
                hint=f"It has {', '.join(DTYPES)}.",
                param="dtype",
            )
        if unknown := sorted(set(spec.engine_args) - set(OPTIONS)):
            hint = f"It has {', '.join(OPTIONS)}."
            raise ConfigurationError(
                f"The {name} backend has no engine option {unknown[0]!r}.", hint=hint
            )
        if not isinstance(spec.engine_args.get("verify", True), bool):
            raise ConfigurationError("engine_args verify must be true or false.", param="verify")

    async def start(self) -> None:
        if self._engine is not None:
            return
        await asyncio.to_thread(self.load_model)
        info = self._info = self._describe()
        rows = info.max_concurrency
        limits = Capacity(
            info.max_model_len, rows, self.spec.max_queue, info.eos_token_ids, self.spec.seed
        )
        self._engine = KerasEngine(self._loaded(), limits, asyncio.get_running_loop())

    def load_model(self) -> Any:
        """KerasHub's `CausalLM`. Errors: those of `load_runtime`."""
        if self._runtime is None:
            verify = self.spec.engine_args.get("verify", True)
            runtime = load_runtime(self.framework, self.weights_dir, self.spec.dtype, verify)
            self._require_device(runtime.device)
            self._runtime = runtime
        return self._runtime.model

    def _loaded(self) -> Runtime:
        if self._runtime is None:
            raise EngineDead("The engine has not been started.")
        return self._runtime

    def _require_device(self, found: str) -> None:
        wanted = {"cuda": "gpu"}.get(self.spec.device or found, self.spec.device or found)
        if wanted != found:
            raise ConfigurationError(
                f"device is {self.spec.device!r}, but {self.framework} runs on {found} here.",
                hint=f"Leave device out, or install a {self.framework} made for that device.",
                param="device",
            )

    def _describe(self) -> BackendInfo:
        runtime, longest = self._loaded(), self._loaded().geometry.max_positions
        if (self.spec.max_model_len or 0) > longest:
            raise ConfigurationError(
                f"max_model_len is at most {longest} for this model.", param="max_model_len"
            )
        return BackendInfo(
            max_model_len=self.spec.max_model_len or longest,
            vocab_size=runtime.geometry.vocab_size,
            eos_token_ids=end_tokens(self.weights_dir),
            dtype=DTYPES[self.spec.dtype],
            device=runtime.device,
            max_concurrency=self.spec.max_num_seqs or MAX_ROWS,
        )

    @property
    def info(self) -> BackendInfo:
        if self._info is None:
            raise EngineDead("The engine has not been started.")
        return self._info

    def check(self, request: TokenRequest) -> None:
        params = request.params
        if request.adapter is not None:
            raise AdapterNotFound(
                f"There is no adapter {request.adapter!r}: the {self.name} backend has no LoRA"
                " support.",
                hint=f"Take {OTHERS}.",
                param="adapter",
            )
        for param, asked in (
            ("structure", params.structure),
            ("prompt_logprobs", params.prompt_logprobs),
        ):
            if asked is not None:
                raise UnsupportedFeature(
                    f"The {self.name} backend cannot do {field(param)}.",
                    hint=f"Leave it out, or take {OTHERS}.",
                    param=param,
                )
        size = self.info.vocab_size
        ids = {
            "prompt": request.prompt_token_ids,
            "logit_bias": params.logit_bias,
            "stop_token_ids": params.stop_token_ids,
        }
        for param, token_ids in ids.items():
            if any(not 0 <= token_id < size for token_id in token_ids):
                raise InvalidRequest(f"{param}: a token id is not in [0, {size}).", param=param)

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        if self._engine is None:
            raise EngineDead("The engine is not running.", hint="Start it first.")
        return _Submitted(self._engine, self._engine.submit(request, sink))

    def stats(self) -> EngineStats:
        return EngineStats() if self._engine is None else self._engine.stats()

    @property
    def failure(self) -> str | None:
        return None if self._engine is None else self._engine.failure

    async def close(self) -> None:
        engine, self._engine, self._runtime = self._engine, None, None
        if engine is not None:
            await asyncio.to_thread(engine.close)
