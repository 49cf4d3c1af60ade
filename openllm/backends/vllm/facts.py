"""What is known of vLLM."""

from __future__ import annotations

from openllm.facts import Facts, MemoryUse

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
    memory=MemoryUse(
        shrinks=("fp8", "bitsandbytes"),
        process=1536 * 2**20,
        context=600 * 2**20,
        graphs=700 * 2**20,
        share=0.92,
        steps=(2048, 8192),
        rows=(128, 1024),
        block=16,
        windows=True,
        parallel=True,
    ),
    system_packages=("gcc", "libc6-dev"),  # it compiles kernels while it runs
    extras=("vllm",),
    packages=("vllm",),
    class_prefix="VLLM",
    auto_class="AutoVLLM",
)
