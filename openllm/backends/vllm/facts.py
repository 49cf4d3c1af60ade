"""What is known of vLLM."""

from __future__ import annotations

from openllm.facts import Facts

FACTS = Facts(
    name="vllm",
    title="vLLM",
    rank=10,
    tasks=("generate", "embed", "classify"),
    adapters=True,
    structures=True,
    expert_adapters=True,
    quantizations=None,
    wants_gpu=True,
    system_packages=("gcc", "libc6-dev"),  # it compiles kernels while it runs
    extras=("vllm",),
    packages=("vllm",),
    class_prefix="VLLM",
    auto_class="AutoVLLM",
)
