"""The fused forward pass beside transformers' own: the same logits, for each of Llama's kin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import torch
import transformers

from openllm.backends.pytorch.forward.fit import choose_executor
from openllm.backends.pytorch.forward.flat import FlatExecutor
from openllm.backends.pytorch.loading.loader import load_model
from openllm.config.spec import LLMSpec
from tests.backends.pytorch.conftest import Answer, ask, prompt_of, started
from tests.tiny import SMALL, write_adapter, write_model

OFF = {"fused_forward": False, "pack_weights": False}
KIN = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "granite", "gemma", "tied"]


@pytest.fixture(scope="module")
def kin(
    model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The tiny models, and some shapes that only this pass tells apart."""
    folder = tmp_path_factory.mktemp("kin")
    configs = {
        "granite": lambda: transformers.GraniteConfig(
            **SMALL,
            embedding_multiplier=3.0,
            residual_multiplier=0.4,
            logits_scaling=4.0,
            attention_multiplier=0.3,
        ),
        "gemma": lambda: transformers.GemmaConfig(**SMALL),
        "tied": lambda: transformers.LlamaConfig(
            **{**SMALL, "tie_word_embeddings": True},
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        ),
    }

    def find(name: str) -> Path:
        if name not in configs:
            return model(name)
        path = folder / name
        if not path.exists():
            write_model(path, configs[name](), "AutoModelForCausalLM")
        return path

    return find


@attrs.frozen
class Asked:
    """What a backend answered to the same requests."""

    answers: list[Answer]

    def assert_near(self, other: Asked) -> None:
        for one, two in zip(self.answers, other.answers, strict=True):
            assert one.prompt_logprobs is not None
            assert two.prompt_logprobs is not None
            for first, second in zip(one.prompt_logprobs[1:], two.prompt_logprobs[1:], strict=True):
                assert first is not None
                assert second is not None
                assert first.logprob == pytest.approx(second.logprob, abs=2e-3)
            for at, (first, second) in enumerate(zip(one.logprobs, two.logprobs, strict=True)):
                assert first.logprob == pytest.approx(second.logprob, abs=2e-3)
                if one.tokens[at] != two.tokens[at]:  # as good as each other
                    break


async def answers(path: Path, **fields: object) -> Asked:
    """Long prompts and short, in parts beside each other: past windows, and steps of many rows."""
    async with started(path, **fields) as backend:
        prompts = [prompt_of(length, length) for length in (70, 5, 33)]
        found = await asyncio.gather(
            *(ask(backend, one, max_tokens=8, logprobs=0, prompt_logprobs=0) for one in prompts)
        )
    return Asked(list(found))


@pytest.mark.parametrize("name", KIN)
async def test_it_computes_what_the_model_computes(name: str, kin: Callable[[str], Path]) -> None:
    path = kin(name)
    spec = LLMSpec(model_id=str(path), backend="pytorch", dtype="float32", device="cpu")
    executor, _ = choose_executor(spec, load_model(spec, path))
    assert isinstance(executor, FlatExecutor)
    assert executor.fused is not None
    expected = await answers(path, engine_args={**OFF, "prefill_tokens": 40})
    for engine_args in ({"pack_weights": False}, {}):
        found = await answers(path, engine_args={**engine_args, "prefill_tokens": 40})
        found.assert_near(expected)


async def test_adapters_and_padding_share_a_step(llama: Path, tmp_path: Path) -> None:
    """Rows with an adapter, rows without and padded rows in the same products."""
    adapter = write_adapter(tmp_path / "adapter", llama, rank=4)
    prompts = [prompt_of(length, length) for length in (45, 7, 20)]
    said = []
    for engine_args in (OFF, {}):
        async with started(llama, engine_args=engine_args) as backend:
            await backend.mount_adapter("one", adapter)
            rows = [(prompt, name) for prompt in prompts for name in (None, "one")]
            found = await asyncio.gather(
                *(ask(backend, prompt, name, max_tokens=10) for prompt, name in rows)
            )
            said.append([answer.tokens for answer in found])
    assert said[0] == said[1]
    assert said[0][0] != said[0][1]


def test_a_pass_that_gives_other_logits_is_not_used(
    llama: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because its norms are Gemma's: it says so, and the model's own pass computes."""
    from openllm.backends.pytorch.forward import fused

    monkeypatch.setattr(fused, "GEMMAS", ("llama",))
    spec = LLMSpec(model_id=str(llama), backend="pytorch", dtype="float32", device="cpu")
    with caplog.at_level("INFO", "openllm"):
        executor, _ = choose_executor(spec, load_model(spec, llama))
    assert isinstance(executor, FlatExecutor)
    assert executor.fused is None
    assert "computed by its own forward pass" in caplog.text


def test_layers_of_another_kind_are_left_to_the_model(llama: Path) -> None:
    spec = LLMSpec(model_id=str(llama), backend="pytorch", dtype="float32", device="cpu")
    loaded = load_model(spec, llama)

    class Other(torch.nn.Linear):
        pass

    loaded.model.model.layers[1].mlp.down_proj = Other(128, 64, bias=False)
    executor, _ = choose_executor(spec, loaded)
    assert isinstance(executor, FlatExecutor)
    assert executor.fused is None
