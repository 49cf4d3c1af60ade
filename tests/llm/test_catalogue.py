"""Whether models of the catalogue fit here: told by their shapes, with the network cut."""

from __future__ import annotations

import pytest

from openllm import models
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.facts import facts_of
from openllm.hardware.memory import MachineMemory
from openllm.llm import planning
from openllm.llm.catalogue import Verdict, judge, known_outline
from openllm.llm.planning import GpuTarget, plan_outline
from tests.backends.fakes import FakeGpu, drive

GIB = 2**30


class _Engine:
    """An engine that can be taken here, whatever is installed."""

    def __init__(self, name: str) -> None:
        self.facts = facts_of(name)

    @staticmethod
    def cpu_build() -> None:
        return None


def machine(monkeypatch: pytest.MonkeyPatch, memory: int, gpu: int = 0) -> None:
    """One with so many GiB of memory, and of a GPU for vLLM; without one PyTorch runs."""
    engine = _Engine("vllm" if gpu else "pytorch")
    monkeypatch.setattr(
        planning, "machine_memory", lambda: MachineMemory(memory * GIB, memory * GIB)
    )
    monkeypatch.setattr(planning, "fast_in_bf16", lambda: False)
    monkeypatch.setattr(planning, "select_backend", lambda spec, settings: (engine, "why"))
    monkeypatch.setattr(planning, "find_backend", lambda name: engine)
    drive(monkeypatch, [FakeGpu(uuid="GPU-0", total=gpu * GIB, free=gpu * GIB)] if gpu else None)


def verdict(family: str, model_id: str) -> Verdict:
    return judge(models.get(family), model_id, Settings())


def test_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 16)
    assert verdict("qwen", "Qwen/Qwen3-1.7B") == Verdict("yes")
    assert verdict("qwen", "Qwen/Qwen3-4B") == Verdict("yes", {"dtype": "bfloat16"})
    assert verdict("qwen", "Qwen/Qwen3-32B") == Verdict("no")


def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, 64, gpu=24)
    assert verdict("llama", "meta-llama/Llama-3.1-8B-Instruct") == Verdict("yes")
    assert verdict("phi", "microsoft/phi-4") == Verdict("quantised", {"quantization": "fp8"})
    assert verdict("llama", "meta-llama/Llama-3.3-70B-Instruct") == Verdict("no")
    assert verdict("gpt_oss", "openai/gpt-oss-20b") == Verdict("yes")  # its files are quantized
    assert verdict("bge", "BAAI/bge-small-en-v1.5") == Verdict("yes")


def test_what_is_not_known_is_said_and_what_is_too_large_in_any_format_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, 64)
    assert verdict("qwen3_5", "Qwen/Qwen3.5-4B") == Verdict("unknown")
    assert verdict("llama4", "meta-llama/Llama-4-Maverick-17B-128E-Instruct") == Verdict("no")
    assert verdict("llama", "somebody/a-model-of-theirs") == Verdict("unknown")


def test_it_is_the_plan_of_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `openllm plan` counts it of the headers on the Hub: 8.03e9 numbers of 2 bytes."""
    found = known_outline(models.get("llama"), "meta-llama/Llama-3.1-8B-Instruct")
    assert found is not None
    spec = LLMSpec(model_id="meta-llama/Llama-3.1-8B-Instruct", backend="vllm")
    made = plan_outline(spec, found, Settings(), GpuTarget("L4"))
    assert made.memory.weights == 2 * 8.03e9
    assert made.memory.sequence == made.memory.context * 2 * 32 * 8 * 128 * 2
    assert made.model.longest == 131_072
