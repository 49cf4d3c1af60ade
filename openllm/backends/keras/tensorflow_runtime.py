"""KerasHub on TensorFlow: one graph per shape, rows mapped inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from openllm.backends.keras.families import Geometry
from openllm.backends.keras.runtime import Logits, Runtime, TokenIds


class TensorFlowRuntime(Runtime):
    """One graph for every shape it meets, kept here: `tf.function` would warn that it traces so
    often.
    """

    framework = "tensorflow"
    failures = (*Runtime.failures, tf.errors.OpError)

    def __init__(self, model: Any, geometry: Geometry) -> None:
        super().__init__(model, geometry)
        self._graphs: dict[tuple[Any, ...], Callable[..., tuple[Any, Any]]] = {}

    @property
    def device(self) -> str:
        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"

    def prefill(
        self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]
    ) -> tuple[Logits, Any]:
        logits, mine = self._run(
            self._prefill_row, cache[row : row + 1], token_ids, np.asarray(span, np.int32)
        )
        return logits.numpy(), tf.tensor_scatter_nd_update(cache, [[row]], mine)

    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        logits, cache = self._run(self._decode_rows, cache, token_ids, positions)
        return logits.numpy(), cache

    def _run(self, function: Callable[..., Any], cache: Any, *arrays: TokenIds) -> tuple[Any, Any]:
        values = (cache, *map(tf.constant, arrays))
        key = (function.__name__, *(tuple(value.shape) for value in values))
        if key not in self._graphs:
            specs = [tf.TensorSpec(value.shape, value.dtype) for value in values]
            self._graphs[key] = tf.function(function).get_concrete_function(*specs)
        return self._graphs[key](*values)

    def _prefill_row(self, mine: Any, token_ids: Any, span: Any) -> tuple[Any, Any]:
        first, last = tf.unstack(span)
        logits, _, mine = self.model.call_with_cache(token_ids[None], mine, first)
        return tf.cast(tf.gather(logits[0], last - first), tf.float32), mine

    def _decode_rows(self, cache: Any, token_ids: Any, positions: Any) -> tuple[Any, Any]:
        def one(row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
            cache, token_id, position = row
            logits, _, cache = self.model.call_with_cache(
                token_id[None, None], cache[None], position
            )
            return tf.cast(logits[0, 0], tf.float32), cache[0]

        shapes = (
            tf.TensorSpec([self.geometry.vocab_size], tf.float32),
            tf.TensorSpec(cache.shape[1:], cache.dtype),
        )
        logits, cache = tf.map_fn(one, (cache, token_ids, positions), fn_output_signature=shapes)
        return logits, cache


RUNTIME = TensorFlowRuntime
