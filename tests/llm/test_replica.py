"""What one replica of a deployment takes of a machine that is not here, by the plans of its
engines.
"""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.hardware.kinds import find_gpu
from openllm.hardware.memory import MachineMemory
from openllm.hardware.plan import Devices
from openllm.llm.planning import plan_at
from openllm.llm.replica import AMPLE, PlannedEngine, PlannedReplica
from openllm.weights.outline import Outline

GIB = 2**30
SHAPE: dict[str, Any] = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def engine(size: float, backend: str = "vllm", draft: int = 0, **options: Any) -> PlannedEngine:
    spec = LLMSpec(model_id="org/model", backend=backend, **options)
    return PlannedEngine(spec, Outline(SHAPE, {}, int(size * GIB)), draft)


def on(gpu: str, count: int) -> Devices:
    return Devices(AMPLE, find_gpu(gpu).gpus(count))


def test_it_is_the_plan_that_says_whether_it_fits() -> None:
    large = engine(130, max_model_len=8192)
    assert large.outline is not None
    for count in (1, 2, 4):
        made = plan_at(large.spec, large.outline, on("A100", count))
        said = PlannedReplica((large,), count).why_not(on("A100", count))
        assert said == (None if made.fits else made.why_not.rstrip("."))
    assert PlannedReplica((large,), 4).why_not(on("A100", 4)) is None


@pytest.mark.parametrize(
    ("gpus", "kind", "backend", "found"),
    [
        (None, "nvidia-a100-80gb", "vllm", 4),  # the weights fit two, and hardly a token more
        (None, "nvidia-h200", "vllm", 2),
        (None, "nvidia-t4", "vllm", 1),  # not on eight of them either
        (None, "nvidia-x9", "vllm", 1),  # nobody knows it
        (None, None, "vllm", 1),
        (2, "nvidia-a100-80gb", "vllm", 2),  # as it was said
        (0, None, "vllm", 0),
        (None, None, "pytorch", 0),
        (None, "nvidia-a100-80gb", "echo", 0),  # it uses none
    ],
)
def test_gpus_that_nobody_counted_are_as_many_as_the_plan_needs(
    gpus: int | None, kind: str | None, backend: str, found: int
) -> None:
    made = PlannedReplica.of([engine(140, backend)], gpus, kind)
    assert (made.gpus, made.gpu_type) == (found, kind)


def test_specs_that_say_how_many_gpus_they_want_are_counted_together() -> None:
    two = engine(1, tensor_parallel_size=2)
    assert PlannedReplica.of([two, engine(1)], None, None).gpus == 3
    assert PlannedReplica.of([engine(1, replicas=3)], None, None).gpus == 3
    assert PlannedReplica.of([engine(1)] * 2, 1, None).gpus == 1


def test_engines_that_share_a_gpu_leave_each_other_their_shares() -> None:
    half, rest = (engine(20, gpu_memory_utilization=share) for share in (0.5, 0.45))
    assert PlannedReplica((half, rest), 1).why_not(on("A100", 1)) is None
    greedy = engine(30)
    said = PlannedReplica((greedy, rest), 1).why_not(on("A100", 1))
    assert said is not None
    assert said.startswith("org/model needs")
    assert PlannedReplica((greedy, rest), 2).why_not(on("A100", 2)) is None  # each has its own


def test_replicas_have_gpus_of_their_own_and_more_than_there_are_do_not_fit() -> None:
    twice = engine(30, replicas=2)
    assert PlannedReplica((twice,), 2).why_not(on("A100", 2)) is None
    assert "2 replicas want 2 GPUs" in (PlannedReplica((twice,), 1).why_not(on("A100", 1)) or "")


def test_a_context_that_nobody_said_has_room_for_more_than_a_few_tokens() -> None:
    short = engine(68)
    assert short.outline is not None
    alone = plan_at(short.spec, short.outline, on("A100", 1))
    assert (alone.fits, 0 < alone.memory.most_context < 4096) == (True, True)
    assert PlannedReplica((short,), 1).why_not(on("A100", 1)) is not None
    said = engine(68, max_model_len=256)
    assert PlannedReplica((said,), 1).why_not(on("A100", 1)) is None


def test_the_machine_s_memory() -> None:
    on_gpus = PlannedReplica((engine(140),), 4, "nvidia-a100-80gb").memory
    assert on_gpus == 140 * GIB + 4 * 1536 * 2**20  # its weights pass through four processes
    alone = engine(16, "pytorch", dtype="bfloat16", max_model_len=4096)
    assert alone.outline is not None
    assert (
        PlannedReplica((alone,), 0).memory
        == plan_at(alone.spec, alone.outline, Devices(AMPLE)).memory.needed
    )
    # nobody knows the processor: bf16 may be no format that it computes in
    assert PlannedReplica((engine(16, "pytorch"),), 0).memory > 32 * GIB
    told = engine(16, "pytorch", dtype="bfloat16", max_model_len=4096, kv_cache_memory=8 * GIB)
    assert PlannedReplica((told,), 0).memory > PlannedReplica((alone,), 0).memory + 6 * GIB
    assert PlannedReplica((told,), 0).memory > (16 + 8) * GIB
    assert PlannedReplica((alone, alone), 0).memory == 2 * PlannedReplica((alone,), 0).memory
    little = MachineMemory(30 * GIB, 30 * GIB)
    assert PlannedReplica((alone,), 0).why_not(Devices(little)) is None
    assert PlannedReplica((alone, alone), 0).why_not(Devices(little)) is not None


def test_a_draft_model_counts_and_what_nobody_knows_is_not_refused() -> None:
    short = engine(60, max_model_len=256)
    assert PlannedReplica((short,), 1).why_not(on("A100", 1)) is None
    drafted = engine(60, draft=16 * GIB, max_model_len=256)
    assert PlannedReplica((drafted,), 1).why_not(on("A100", 1)) is not None
    unknown = PlannedReplica((PlannedEngine(short.spec, None),), 1)
    assert (unknown.is_known, unknown.why_not(on("T4", 1))) == (False, None)
    size_alone = PlannedReplica((PlannedEngine(short.spec, Outline({}, {}, 60 * GIB)),), 1)
    assert (size_alone.is_known, size_alone.why_not(on("T4", 1))) == (False, None)
    assert size_alone.memory > 60 * GIB
