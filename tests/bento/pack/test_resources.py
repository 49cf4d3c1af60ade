"""A deployment that does not fit the GPUs of its `resources` is refused with numbers."""

from __future__ import annotations

import pytest

from openllm.bento.pack.resources import require_fit
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.llm.replica import PlannedEngine, PlannedReplica
from openllm.weights.outline import Outline

SHAPE = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
EIGHT_BILLION = 16 * 10**9  # bytes in bf16


def replica(gpu_type: str | None, gpus: int = 1, backend: str = "vllm") -> PlannedReplica:
    spec = LLMSpec(model_id="org/8b", backend=backend)
    return PlannedReplica((PlannedEngine(spec, Outline(SHAPE, {}, EIGHT_BILLION)),), gpus, gpu_type)


def test_too_few_gpus_are_refused_with_numbers_and_what_helps() -> None:
    with pytest.raises(BuildError) as caught:
        require_fit(replica("nvidia-t4"), "chat", Settings())
    said = str(caught.value)
    assert "chat does not fit 1 x nvidia-t4: org/8b needs" in said
    assert "14.9 GiB of weights in float16" in said
    assert "quantization" in said
    require_fit(replica("nvidia-t4"), "chat", Settings(force=True))


@pytest.mark.parametrize(
    ("gpu_type", "gpus", "backend"),
    [
        ("nvidia-l4", 1, "vllm"),
        ("nvidia-t4", 2, "vllm"),
        ("nvidia-x9", 1, "vllm"),  # nobody knows it
        (None, 1, "vllm"),
        ("nvidia-t4", 0, "vllm"),
        ("nvidia-t4", 1, "echo"),  # loads no weights
    ],
)
def test_what_fits_or_is_not_known_is_not_refused(
    gpu_type: str | None, gpus: int, backend: str
) -> None:
    require_fit(replica(gpu_type, gpus, backend), "chat", Settings())
