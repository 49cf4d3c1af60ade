"""Everything behind a started backend: the engine and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm.backends.base import BackendInfo, Embeddings
from openllm.backends.pytorch.adapters import AdapterBank
from openllm.backends.pytorch.engine import Engine, Parts
from openllm.backends.pytorch.fit import choose_runner
from openllm.backends.pytorch.loader import LoadedModel
from openllm.backends.pytorch.runner import Runner
from openllm.backends.pytorch.sampler import Sampler
from openllm.errors import UnsupportedFeature
from openllm.spec import LLMSpec
from openllm.types import EngineRequest, Structure


@attrs.define
class Machine:
    """One started model."""

    engine: Engine
    runner: Runner
    adapters: AdapterBank
    info: BackendInfo

    def check(self, request: EngineRequest) -> None:
        """Errors: UnsupportedFeature."""

    async def compile(self, structure: Structure | None) -> Any:
        """A grammar for the request's choices. Errors: InvalidRequest, UnsupportedFeature."""
        if structure is not None:
            raise UnsupportedFeature("Structured output is not there yet.")

    async def embed(self, prompts: Sequence[Sequence[int]], pooling: str | None) -> Embeddings:
        raise UnsupportedFeature("Embedding is not there yet.")

    def drop_adapter(self, key: int) -> None:
        """Forget an adapter and what was computed with it; on the engine's thread."""
        self.runner.forget_adapter(key)
        self.adapters.unmount(key)

    def close(self) -> None:
        self.engine.close()


def assemble(spec: LLMSpec, weights_dir: Path, loaded: LoadedModel) -> Machine:
    """Build the engine around a loaded model. Errors: ConfigurationError."""
    runner, limits = choose_runner(spec, loaded)
    adapters = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    sampler = Sampler(loaded.vocab_size, loaded.device, loaded.eos_token_ids)
    parts = Parts(runner, sampler, adapters, limits, spec.max_queue, loaded.eos_token_ids, spec.seed)
    info = BackendInfo(
        max_model_len=limits.max_model_len,
        vocab_size=loaded.vocab_size,
        eos_token_ids=loaded.eos_token_ids,
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        max_concurrency=limits.max_num_seqs,
    )
    return Machine(Engine(parts), runner, adapters, info)
