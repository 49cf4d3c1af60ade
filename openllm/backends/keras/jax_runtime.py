"""KerasHub on JAX: `vmap` over rows, weights passed as arguments so that no compiled program
carries a copy of them.
"""

from __future__ import annotations

from functools import partial
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
        self._prefill = jax.jit(self._prefill_row, donate_argnums=1)
        self._decode = jax.jit(self._decode_rows, donate_argnums=1)
        # Apart from the prefill, which is then compiled for a row's length only and not for each
        # number of rows.
        self._take = jax.jit(partial(lax.dynamic_slice_in_dim, slice_size=1))
        self._put = jax.jit(partial(lax.dynamic_update_slice_in_dim, axis=0), donate_argnums=0)

    @property
    def device(self) -> str:
        return str(jax.default_backend())

    def prefill(
        self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]
    ) -> tuple[Logits, Any]:
        mine = self._take(cache, np.int32(row))
        logits, mine = self._prefill(self._state(), mine, token_ids, np.asarray(span, np.int32))
        return np.asarray(logits), self._put(cache, mine, np.int32(row))

    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        logits, cache = self._decode(self._state(), cache, token_ids, positions)
        return np.asarray(logits), cache

    def _state(self) -> list[Any]:
        return [variable.value for variable in self._variables]

    def _prefill_row(
        self, state: list[Any], mine: Any, token_ids: Any, span: Any
    ) -> tuple[Any, Any]:
        first, last = span
        with keras.StatelessScope(state_mapping=zip(self._variables, state, strict=True)):
            logits, _, mine = self.model.call_with_cache(token_ids[None], mine, first)
        chosen = lax.dynamic_index_in_dim(logits[0], last - first, keepdims=False)
        return chosen.astype("float32"), mine

    def _decode_rows(
        self, state: list[Any], cache: Any, token_ids: Any, positions: Any
    ) -> tuple[Any, Any]:
        def one(cache: Any, token_id: Any, position: Any) -> tuple[Any, Any]:
            logits, _, cache = self.model.call_with_cache(
                token_id[None, None], cache[None], position
            )
            return logits[0, 0].astype("float32"), cache[0]

        with keras.StatelessScope(state_mapping=zip(self._variables, state, strict=True)):
            logits, cache = jax.vmap(one)(cache, token_ids, positions)
        return logits, cache


RUNTIME = JaxRuntime
