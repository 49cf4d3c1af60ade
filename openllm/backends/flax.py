"""The backend 'flax': KerasHub on JAX."""

from __future__ import annotations

from openllm.backends.keras.backend import KerasBackend


class FlaxBackend(KerasBackend):
    """Named after the JAX library that these models were once published for; KerasHub runs them on
    JAX itself.
    """

    name = "flax"
    framework = "jax"


BACKEND = FlaxBackend
