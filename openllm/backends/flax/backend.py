"""The backend 'flax' for the engine that KerasHub's models run on."""

from __future__ import annotations

from openllm.backends.flax.facts import FACTS
from openllm.backends.keras.backend import KerasBackend


class FlaxBackend(KerasBackend):
    """Named after the JAX library that these models were once published for; KerasHub runs them on
    JAX itself.
    """

    facts = FACTS
    framework = "jax"


BACKEND = FlaxBackend
