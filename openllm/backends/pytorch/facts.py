"""What is known of our own engine on transformers and PyTorch."""

from __future__ import annotations

from openllm.facts import Facts

FACTS = Facts(
    name="pytorch",
    title="the PyTorch engine",
    spellings=("pt", "torch"),
    rank=20,
    tasks=("generate", "embed", "classify"),
    adapters=True,
    structures=True,
    quantizations=("int8", "int4", "nf4", "torchao-int8"),
    extras=("pt",),
    packages=("torch", "peft", "xgrammar"),
    class_prefix="",
)
