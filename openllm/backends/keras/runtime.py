"""A model as three functions over a KV cache: an empty cache, a piece of one prompt, one more token
for every row.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from openllm.backends.keras.families import Geometry

Logits = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.int32]


class Runtime(abc.ABC):
    """One framework's way to run a KerasHub `CausalLM`. Used by one thread.

    A cache has the shape (rows, layers, 2, length, heads, head_dim). Each new pair of rows and
    length is compiled anew, so callers keep to few of them. A cache that was passed in must not be
    used again: the one returned replaces it.
    """

    framework: ClassVar[str]  # Keras' own word for it
    failures: ClassVar[tuple[type[Exception], ...]] = (
        RuntimeError,
        ValueError,
        TypeError,
        MemoryError,
    )

    def __init__(self, model: Any, geometry: Geometry) -> None:
        self.model = model
        self.geometry = geometry

    @property
    @abc.abstractmethod
    def device(self) -> str:
        """Where the model runs: "cpu", "gpu" or "tpu"."""

    def empty(self, rows: int, length: int) -> Any:
        """A cache of zeros for `rows` rows of `length` tokens."""
        from keras import ops

        return ops.zeros(self._shape(rows, length), dtype=self.model.compute_dtype)

    def resize(self, cache: Any, rows: int, length: int) -> Any:
        """`cache` grown to `rows` and `length`; what is new is zero."""
        from keras import ops

        have = cache.shape
        room = [(0, rows - have[0]), (0, 0), (0, 0), (0, length - have[3]), (0, 0), (0, 0)]
        return ops.pad(cache, room)

    def _shape(self, rows: int, length: int) -> tuple[int, ...]:
        shape = self.geometry
        return (rows, shape.layers, 2, length, shape.kv_heads, shape.head_dim)

    @abc.abstractmethod
    def prefill(
        self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]
    ) -> tuple[Logits, Any]:
        """Run `token_ids` (1-D) in `row` from position `span[0]` on; what comes after position
        `span[1]` is padding.

        Returns the logits (vocabulary,) after the token at `span[1]`, and the cache.
        """

    @abc.abstractmethod
    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        """Run one token in every row at that row's position. Returns logits (rows, vocabulary) and
        the cache.
        """
