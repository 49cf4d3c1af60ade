"""LoRA: any mix of adapters in one batch gives the tokens of single runs; nothing changes under a
request.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from openllm.backends.pytorch.lora.adapters import load_adapter
from openllm.errors import AdapterNotFound, WeightsError
from openllm.weights.adapters import read_adapter
from tests import tiny
from tests.adapters import REFUSED, poison
from tests.backends.pytorch.conftest import ask, prompt_of, started, until_idle

MARGIN = 1e-3
SHAPES: dict[str, dict[str, Any]] = {
    "wide": {"rank": 8},
    "narrow": {"rank": 2, "target_modules": ["q_proj", "v_proj"], "lora_alpha": 32},
    "stabilised": {"rank": 4, "use_rslora": True},
    "patterned": {"rank": 4, "rank_pattern": {"q_proj": 6}, "alpha_pattern": {"q_proj": 3}},
}


@pytest.fixture(scope="module")
def adapters(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: tiny.write_adapter(folder / name, llama, seed=at, **fields)
        for at, (name, fields) in enumerate(SHAPES.items())
    }


class PeftReference:
    """Greedy checks against peft's own model of one adapter."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self._model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()

    @torch.inference_mode()
    def assert_greedy(self, prompt: list[int], answer: list[int]) -> None:
        logits = self._model(torch.tensor([prompt + answer])).logits[0]
        for at, token in enumerate(answer):
            row = logits[len(prompt) + at - 1]
            assert row.max() - row[token] < MARGIN


async def test_a_mixed_batch_gives_the_tokens_of_single_runs(
    llama: Path, adapters: dict[str, Path]
) -> None:
    names = [None, *SHAPES, "wide", None]
    async with started(llama, engine_args={"prefill_tokens": 16}) as backend:
        for name, path in adapters.items():
            await backend.mount_adapter(name, path)
        answers = await asyncio.gather(
            *(
                ask(backend, prompt_of(12 + at, at), name, max_tokens=16)
                for at, name in enumerate(names)
            )
        )
    for at, (name, answer) in enumerate(zip(names, answers, strict=True)):
        reference = PeftReference(llama, adapters[name] if name else None)
        reference.assert_greedy(prompt_of(12 + at, at), answer.tokens)


async def test_the_same_prompt_shares_no_prefix_between_adapters(
    llama: Path, adapters: dict[str, Path]
) -> None:
    async with started(llama) as backend:
        await backend.mount_adapter("one", adapters["wide"])
        await backend.mount_adapter("two", adapters["stabilised"])
        answers = {name: await ask(backend, prompt_of(40), name) for name in (None, "one", "two")}
        assert [answer.cached for answer in answers.values()] == [0, 0, 0]
        assert (await ask(backend, prompt_of(40), "one")).cached == 39
        await backend.mount_adapter("one", adapters["narrow"])  # another adapter of that name
        renewed = await ask(backend, prompt_of(40), "one")
        assert renewed.cached == 0
    PeftReference(llama, adapters["narrow"]).assert_greedy(prompt_of(40), renewed.tokens)
    PeftReference(llama, adapters["stabilised"]).assert_greedy(prompt_of(40), answers["two"].tokens)


async def test_unmounting_waits_for_those_who_use_it(
    llama: Path, adapters: dict[str, Path]
) -> None:
    async with started(llama) as backend:
        await backend.mount_adapter("one", adapters["wide"])
        user = asyncio.ensure_future(ask(backend, prompt_of(9), "one", max_tokens=200))
        await asyncio.sleep(0.05)
        await backend.unmount_adapter("one")
        assert user.done()
        with pytest.raises(AdapterNotFound):
            await ask(backend, prompt_of(9), "one")
        await backend.unmount_adapter("one")  # twice is fine
        base = await ask(backend, prompt_of(9), max_tokens=8)
    PeftReference(llama, adapters["wide"]).assert_greedy(prompt_of(9), (await user).tokens)
    PeftReference(llama, None).assert_greedy(prompt_of(9), base.tokens)


async def test_adapters_come_and_go_under_traffic(llama: Path, adapters: dict[str, Path]) -> None:
    async with started(llama, max_num_seqs=8) as backend:
        names = list(adapters)
        for name in names:
            await backend.mount_adapter(name, adapters[name])
        expected = {
            name: (await ask(backend, prompt_of(10), name, max_tokens=6)).tokens for name in names
        }
        found: list[tuple[str, list[int]]] = []

        async def client(seed: int) -> None:
            for turn in range(12):
                name = names[(seed + turn) % len(names)]
                try:
                    found.append(
                        (name, (await ask(backend, prompt_of(10), name, max_tokens=6)).tokens)
                    )
                except AdapterNotFound:
                    await asyncio.sleep(0.002)

        async def operator() -> None:
            for turn in range(8):
                name = names[turn % len(names)]
                await backend.unmount_adapter(name)
                await backend.mount_adapter(name, adapters[name])

        await asyncio.gather(operator(), *(client(seed) for seed in range(6)))
        await until_idle(backend)
    assert len(found) > 30
    assert all(tokens == expected[name] for name, tokens in found)


async def test_gpt2_layers_and_one_by_one_models_take_adapters(
    model: Callable[[str], Path], tmp_path: Path
) -> None:
    for name, targets in (("gpt2", ["c_attn", "c_fc"]), ("mamba", ["in_proj", "x_proj"])):
        adapter = tiny.write_adapter(tmp_path / name, model(name), target_modules=targets)
        async with started(model(name)) as backend:
            await backend.mount_adapter("it", adapter)
            changed, base = await asyncio.gather(
                ask(backend, prompt_of(9), "it"), ask(backend, prompt_of(9))
            )
        PeftReference(model(name), adapter).assert_greedy(prompt_of(9), changed.tokens)
        PeftReference(model(name), None).assert_greedy(prompt_of(9), base.tokens)


def edited(
    source: Path, target: Path, config: dict[str, Any], rename: Callable[[str], str] = str
) -> Path:
    """A copy of an adapter with other settings or names."""
    target.mkdir()
    settings = json.loads((source / "adapter_config.json").read_text()) | config
    (target / "adapter_config.json").write_text(json.dumps(settings))
    tensors = load_file(source / "adapter_model.safetensors")
    save_file(
        {rename(key): tensor for key, tensor in tensors.items()},
        target / "adapter_model.safetensors",
    )
    return target


@pytest.mark.parametrize(
    ("config", "rename", "says"),
    [
        ({"peft_type": "IA3"}, str, "IA3"),
        ({"use_dora": True}, str, "DoRA"),
        ({"bias": "all"}, str, "bias=all"),
        ({}, lambda key: key.replace("q_proj", "z_proj"), "z_proj"),
        ({}, lambda key: key.replace("lora_A", "lora_magnitude"), "lora_magnitude"),
        (
            {},
            lambda key: key.replace("layers.0.self_attn.q_proj", "layers.0.mlp.down_proj_"),
            "down_proj_",
        ),
    ],
)
async def test_what_does_not_fit_is_refused(
    llama: Path, adapters: dict[str, Path], tmp_path: Path, config: Any, rename: Any, says: str
) -> None:
    bad = edited(adapters["narrow"], tmp_path / "bad", config, rename)
    async with started(llama) as backend:
        with pytest.raises(WeightsError, match=says):
            await backend.mount_adapter("bad", bad)
        with pytest.raises(AdapterNotFound):
            await ask(backend, prompt_of(3), "bad")


@pytest.mark.parametrize("side", ["lora_A", "lora_B"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
async def test_values_that_are_no_numbers_are_refused(
    llama: Path, adapters: dict[str, Path], tmp_path: Path, value: float, side: str
) -> None:
    bad = poison(edited(adapters["narrow"], tmp_path / "bad", {}), value, side)
    async with started(llama) as backend:
        with pytest.raises(WeightsError, match=rf"NaN or infinite values in \S*{side}"):
            await backend.mount_adapter("bad", bad)


async def test_one_that_overflows_spoils_no_other_row(
    llama: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    huge = edited(adapters["narrow"], tmp_path / "huge", {})
    tensors = load_file(huge / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        # the product of both is finite, and what of a token goes through the first one is not
        tensor.fill_(3e38 if "lora_A" in name else 1e-3)
    save_file(tensors, huge / "adapter_model.safetensors")
    async with started(llama) as backend:
        alone = await ask(backend, prompt_of(9))
        await backend.mount_adapter("huge", huge)
        await backend.mount_adapter("narrow", adapters["narrow"])
        base, narrow, spoilt = await asyncio.gather(
            ask(backend, prompt_of(9)),
            ask(backend, prompt_of(9), "narrow"),
            ask(backend, prompt_of(9), "huge"),
        )
        assert base.tokens == alone.tokens
        assert spoilt.reason == "error"
    PeftReference(llama, adapters["narrow"]).assert_greedy(prompt_of(9), narrow.tokens)


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "unknown layers"])
def test_it_refuses_what_the_one_reader_refuses(
    adapters: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """It had a list of three options that it cannot do, beside the checks' eleven."""
    bad = Path(shutil.copytree(adapters["narrow"], tmp_path / "bad"))
    spoil, words = REFUSED[name]
    spoil(bad)
    with pytest.raises(WeightsError, match=words) as by_engine:
        load_adapter(bad)
    with pytest.raises(WeightsError) as by_reader:
        read_adapter(bad)
    assert str(by_engine.value) == str(by_reader.value)


async def test_another_models_adapter_is_refused(llama: Path, tmp_path: Path) -> None:
    other = tiny.write_llama(tmp_path / "other", hidden_size=32)
    adapter = tiny.write_adapter(tmp_path / "adapter", other)
    async with started(llama) as backend:
        with pytest.raises(WeightsError, match="another base model"):
            await backend.mount_adapter("it", adapter)
        with pytest.raises(WeightsError, match="There is no directory"):
            await backend.mount_adapter("it", tmp_path / "nowhere")
        assert (await ask(backend, prompt_of(3))).reason == "length"
