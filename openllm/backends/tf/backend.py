"""The backend 'tf' for the engine that KerasHub's models run on."""

from __future__ import annotations

from openllm.backends.keras.backend import KerasBackend
from openllm.backends.tf.facts import FACTS


class TFBackend(KerasBackend):
    """KerasHub's models in `tf.function` graphs."""

    facts = FACTS
    framework = "tensorflow"


BACKEND = TFBackend
