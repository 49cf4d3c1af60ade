"""What is known of KerasHub on JAX."""

from __future__ import annotations

from openllm.facts import Facts

FACTS = Facts(
    name="flax",
    title="KerasHub with JAX",
    spellings=("jax",),
    extras=("keras",),
    packages=("keras-hub", "keras", "jax"),
    class_prefix="Flax",
)
