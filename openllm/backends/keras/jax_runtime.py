"""KerasHub on JAX: `vmap` over rows, weights passed as arguments so that no compiled program carries a copy of them."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
from jax import lax

from openllm.backends.keras.families import Geometry
from openllm.backends.keras.runtime import Logits, Runtime, TokenIds


class JaxRuntime(Runtime):
    """Compiled with `jax.jit`; caches are donated, so a step needs memory for one cache only."""

    framework = "jax"

    def __init__(self, model: Any, geometry: Geometry) -> None:
        super().__init__(model, geometry)
        self._variables = list(model.variables)
        self._prefill = jax.jit(self._prefill_rows, donate_argnums=1)
        self._decode = jax.jit(self._decode_rows, donate_argnums=1)

    @property
    def device(self) -> str:
        return str(jax.default_backend())

    def prefill(self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]) -> tuple[Logits, Any]:
        where = np.asarray((row, *span), np.int32)
        logits, cache = self._prefill(self._state(), cache, token_ids, where)
        return np.asarray(logits), cache

    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        logits, cache = self._decode(self._state(), cache, token_ids, positions)
        return np.asarray(logits), cache

    def _state(self) -> list[Any]:
        return [variable.value for variable in self._variables]

    def _prefill_rows(self, state: list[Any], cache: Any, token_ids: Any, where: Any) -> tuple[Any, Any]:
        row, first, last = where
        with keras.StatelessScope(state_mapping=zip(self._variables, state, strict=True)):
            mine = lax.dynamic_slice_in_dim(cache, row, 1)
            logits, _, mine = self.model.call_with_cache(token_ids[None], mine, first)
        chosen = lax.dynamic_index_in_dim(logits[0], last - first, keepdims=False)
        return chosen.astype("float32"), lax.dynamic_update_slice_in_dim(cache, mine, row, 0)

    def _decode_rows(self, state: list[Any], cache: Any, token_ids: Any, positions: Any) -> tuple[Any, Any]:
        def one(cache: Any, token_id: Any, position: Any) -> tuple[Any, Any]:
            logits, _, cache = self.model.call_with_cache(token_id[None, None], cache[None], position)
            return logits[0, 0].astype("float32"), cache[0]

        with keras.StatelessScope(state_mapping=zip(self._variables, state, strict=True)):
            logits, cache = jax.vmap(one)(cache, token_ids, positions)
        return logits, cache


RUNTIME = JaxRuntime
