"""KerasHub on TensorFlow: one graph per shape, rows mapped inside it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from openllm.backends.keras.families import Geometry
from openllm.backends.keras.runtime import Logits, Runtime, TokenIds


class TensorFlowRuntime(Runtime):
    """Compiled with `tf.function`, once for every shape it meets."""

    framework = "tensorflow"
    failures = (*Runtime.failures, tf.errors.OpError)

    def __init__(self, model: Any, geometry: Geometry) -> None:
        super().__init__(model, geometry)
        self._prefill = tf.function(self._prefill_row)
        self._decode = tf.function(self._decode_rows)

    @property
    def device(self) -> str:
        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"

    def prefill(self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]) -> tuple[Logits, Any]:
        where = tf.constant((row, *span), tf.int32)
        logits, cache = self._prefill(cache, tf.constant(token_ids), where)
        return logits.numpy(), cache

    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        logits, cache = self._decode(cache, tf.constant(token_ids), tf.constant(positions))
        return logits.numpy(), cache

    def _prefill_row(self, cache: Any, token_ids: Any, where: Any) -> tuple[Any, Any]:
        row, first, last = tf.unstack(where)
        mine = tf.gather(cache, row[None])
        logits, _, mine = self.model.call_with_cache(token_ids[None], mine, first)
        chosen = tf.cast(tf.gather(logits[0], last - first), tf.float32)
        return chosen, tf.tensor_scatter_nd_update(cache, row[None, None], mine)

    def _decode_rows(self, cache: Any, token_ids: Any, positions: Any) -> tuple[Any, Any]:
        def one(row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
            cache, token_id, position = row
            logits, _, cache = self.model.call_with_cache(token_id[None, None], cache[None], position)
            return tf.cast(logits[0, 0], tf.float32), cache[0]

        shapes = (
            tf.TensorSpec([self.geometry.vocab_size], tf.float32),
            tf.TensorSpec(cache.shape[1:], cache.dtype),
        )
        logits, cache = tf.map_fn(one, (cache, token_ids, positions), fn_output_signature=shapes)
        return logits, cache


RUNTIME = TensorFlowRuntime
