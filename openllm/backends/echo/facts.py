"""What is known of the echo engine."""

from __future__ import annotations

from openllm.facts import ANY_FAMILY, Facts

FACTS = Facts(
    name="echo",
    title="the echo engine",
    tasks=("generate", "embed", "classify"),
    families=ANY_FAMILY,
    adapters=True,
    uses_gpu=False,
)
