"""What is known of it."""

from openllm.facts import Facts

FACTS = Facts(
    name="backwards",
    title="the engine that talks backwards",
    spellings=("reverse",),
    families=("heron", "llama"),
    tasks=("generate", "embed"),
    adapters=True,
    quantizations=("feather",),
    wants_gpu=True,
    system_packages=("libgomp1",),
    class_prefix="Backwards",
)
