"""What is known of KerasHub on TensorFlow."""

from __future__ import annotations

from openllm.facts import Facts

FACTS = Facts(
    name="tf",
    title="KerasHub with TensorFlow",
    spellings=("tensorflow",),
    extras=("keras",),
    packages=("keras-hub", "keras", "tensorflow"),
    class_prefix="TF",
)
