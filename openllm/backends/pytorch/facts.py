"""What is known of our own engine on transformers and PyTorch."""

from __future__ import annotations

from openllm.facts import Facts, MemoryUse

FACTS = Facts(
    name="pytorch",
    title="the PyTorch engine",
    spellings=("pt", "torch"),
    rank=20,
    tasks=("generate", "embed", "classify"),
    adapters=True,
    structures=True,
    quantizations=("int8", "int4", "nf4", "torchao-int8"),
    memory=MemoryUse(
        shrinks=("int8", "nf4"),
        working=100 * 2**20,
        context=700 * 2**20,
        graphs=300 * 2**20,
        kept_free=0.05,
        block=8,
        states=3,
        packs=True,
        merges=True,
        quantizes_late=("int8",),
        bf16_on_cpu=True,
    ),
    extras=("pt",),
    packages=("torch", "peft", "xgrammar"),
    class_prefix="",
)
