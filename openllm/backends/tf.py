"""The backend 'tf': KerasHub on TensorFlow."""

from __future__ import annotations

from openllm.backends.keras.backend import KerasBackend


class TFBackend(KerasBackend):
    """KerasHub's models in `tf.function` graphs."""

    name = "tf"
    framework = "tensorflow"


BACKEND = TFBackend
