"""What a model takes of memory, in bytes: a token's keys and values, a cache, and a whole replica
of a deployment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import attrs

from openllm.config.spec import LLMSpec
from openllm.hardware.gpus import replica_gpus

OVERHEAD = 1.2  # times the weights: buffers, activations, what the engine itself takes
CACHE_ROOM = 2 * 2**30  # for the KV cache of a model whose spec does not say kv_cache_memory
PROCESS_ROOM = 2**30  # of a service without a GPU, beside its model
LOADING_ROOM = 2 * 2**30  # of a service whose weights only pass through its memory, beside them
HEADROOM = 2  # times what a service asks for it may use before it is ended


@attrs.frozen
class CacheLayout:
    """How an engine lays out keys and values: in whole blocks, some of which stay spare."""

    token_bytes: float  # of one token, on one device
    block: int = 1  # tokens
    spare: int = 0  # blocks beyond those of the sequences

    def size(self, tokens: int) -> int:
        """Bytes of a cache that holds `tokens`."""
        return int((-(-tokens // self.block) + self.spare) * self.block * self.token_bytes)

    def tokens(self, size: int) -> int:
        """How many tokens a cache of `size` bytes holds."""
        return max(int(size // self.token_bytes) // self.block - self.spare, 0) * self.block


@attrs.frozen
class Footprint:
    """What one replica takes. `weights` None: they are fetched at start, nobody knows their
    size.
    """

    weights: int | None
    cache: int
    gpus: int
    gpu_type: str | None = None

    @classmethod
    def of(cls, specs: Sequence[LLMSpec], weights: int | None, gpus: int | None = None) -> Self:
        """Of a deployment of `specs`; `gpus` is what was said of them."""
        cache = sum(spec.kv_cache_memory or CACHE_ROOM for spec in specs)
        return cls(weights, cache, replica_gpus(specs) if gpus is None else gpus)

    @property
    def memory(self) -> int:
        """Of the GPUs together, or of the machine where there are none."""
        process = 0 if self.gpus else PROCESS_ROOM
        return math.ceil((self.weights or 0) * OVERHEAD) + self.cache + process

    @property
    def host_memory(self) -> int:
        """Of the machine: where there are GPUs the weights only pass through it."""
        return (self.weights or 0) + LOADING_ROOM if self.gpus else self.memory
