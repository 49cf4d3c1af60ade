"""From spec and files to a model: what is chosen, and what is refused in one clear line."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import BloomConfig, LlamaConfig

from openllm.backends.pytorch.backend import BACKEND
from openllm.backends.pytorch.loading import loader
from openllm.config.spec import LLMSpec
from openllm.errors import (
    ConfigurationError,
    MissingDependency,
    OpenLLMError,
    UnsupportedCombination,
    WeightsError,
)
from tests import tiny
from tests.backends.pytorch.conftest import ask, prompt_of, started

CPU = torch.device("cpu")


def spec_of(path: Path, **fields: Any) -> LLMSpec:
    return LLMSpec(**{"model_id": str(path), "backend": "pytorch", "device": "cpu", **fields})


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"tensor_parallel_size": 2}, UnsupportedCombination, "tensor_parallel_size"),
        ({"pipeline_parallel_size": 2}, UnsupportedCombination, "pipeline_parallel_size"),
        ({"speculative_model": "x"}, UnsupportedCombination, "speculative_model"),
        ({"kv_cache_dtype": "fp8"}, UnsupportedCombination, "kv_cache_dtype"),
        ({"dtype": "float7"}, ConfigurationError, "float7"),
        ({"device": "cuda:9"}, ConfigurationError, "cuda:9"),
        ({"device": "toaster"}, ConfigurationError, "toaster"),
        ({"engine_args": {"unheard_of": 1}}, ConfigurationError, "unheard_of"),
        ({"engine_args": {"prefill_tokens": 0}}, ConfigurationError, "prefill_tokens"),
        ({"engine_args": {"prefill_tokens": True}}, ConfigurationError, "prefill_tokens"),
        ({"max_model_len": 513}, ConfigurationError, "512"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_at_start(
    llama: Path, fields: Any, error: Any, says: str
) -> None:
    with pytest.raises(error, match=says):
        async with started(llama, **fields):
            pass


@pytest.mark.parametrize(
    "damage", ["no config", "unknown architecture", "no weights", "cut weights", "pickled weights"]
)
async def test_a_damaged_directory_is_one_clear_error(
    llama: Path, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "model"
    shutil.copytree(llama, path)
    weights = path / "model.safetensors"
    if damage == "no config":
        (path / "config.json").unlink()
    elif damage == "unknown architecture":
        config = json.loads((path / "config.json").read_text()) | {"model_type": "nonesuch"}
        (path / "config.json").write_text(json.dumps(config))
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        if damage == "pickled weights":
            torch.save({}, path / "pytorch_model.bin")
        weights.unlink()
    with pytest.raises(WeightsError) as refused:
        async with started(path):
            pass
    assert str(tmp_path) not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_config_of_wrong_types_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_attention_heads": "two"}')
    with pytest.raises(
        WeightsError, match=r"configuration cannot be read: .*num_attention_heads"
    ) as caught:
        loader.read_model_config(tmp_path, spec_of(tmp_path))
    assert "\n" not in str(caught.value)


async def test_weights_that_would_be_made_up_are_refused(tmp_path: Path) -> None:
    """transformers only warns of them, and the model babbles."""
    encoder = tiny.write_encoder(tmp_path / "encoder")
    with pytest.raises(
        WeightsError, match=r"lack cls\..* more, which BertLMHeadModel has.*task='embed'"
    ):
        await BACKEND(spec_of(encoder), encoder).start()
    backend = BACKEND(spec_of(encoder, task="embed"), encoder)
    await backend.start()
    await backend.close()


async def test_a_decoder_that_does_not_know_how_to_begin_fails_at_start(tmp_path: Path) -> None:
    path = tiny.write_t5(tmp_path)
    for name in ("config.json", "generation_config.json"):
        fields = json.loads((path / name).read_text("utf-8"))
        fields.pop("decoder_start_token_id", None)
        fields.pop("bos_token_id", None)
        (path / name).write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot generate") as raised:
        async with started(path):
            pass
    assert "decoder_start_token_id" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"
)
async def test_a_library_that_a_quantization_config_needs(llama: Path) -> None:
    wanted = {"quantization_config": {"load_in_4bit": True}}
    with pytest.raises(MissingDependency, match=r"pip install .*bitsandbytes"):
        await BACKEND(spec_of(llama, engine_args=wanted), llama).start()


def test_dtype_auto_follows_the_checkpoint_and_the_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path)
    monkeypatch.setattr(loader, "_has_fast_bf16", lambda: False)
    assert loader.choose_dtype(spec, torch.bfloat16, CPU) == torch.float32
    monkeypatch.setattr(loader, "_has_fast_bf16", lambda: True)
    assert loader.choose_dtype(spec, torch.bfloat16, CPU) == torch.bfloat16
    assert loader.choose_dtype(spec, torch.float16, CPU) == torch.float32
    assert loader.choose_dtype(spec, None, CPU) == torch.float32
    assert loader.choose_dtype(spec, torch.float16, torch.device("mps")) == torch.float16
    assert loader.choose_dtype(spec, torch.float32, torch.device("mps")) == torch.bfloat16
    assert loader.choose_dtype(spec_of(tmp_path, dtype="half"), None, CPU) == torch.float16


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_sixteen_bits_run(llama: Path, dtype: str) -> None:
    async with started(llama, dtype=dtype) as backend:
        assert backend.info.dtype == dtype
        answer = await ask(
            backend, prompt_of(40), temperature=1.0, top_p=0.9, logprobs=1, max_tokens=10
        )
        assert len(answer.tokens) == 10


async def test_what_a_started_engine_knows(llama: Path) -> None:
    async with started(llama, max_model_len=100, max_num_seqs=3) as backend:
        info = backend.info
        assert (info.max_model_len, info.max_concurrency, info.vocab_size) == (
            100,
            3,
            tiny.VOCAB_SIZE,
        )
        assert (info.eos_token_ids, info.dtype, info.device) == ((tiny.EOS,), "float32", "cpu")


async def test_closing_twice_and_starting_again(llama: Path) -> None:
    backend = BACKEND(spec_of(llama), llama)
    assert backend.load_model() is backend.load_model()
    for _ in range(2):
        await backend.start()
        assert (await ask(backend, prompt_of(3))).reason == "length"
        await backend.close()
        await backend.close()
    with pytest.raises(OpenLLMError, match="not running"):
        await ask(backend, prompt_of(3))


def test_reading_what_is_usable_imports_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from openllm.backends.pytorch.backend import BACKEND; assert 'torch' not in"
        " sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("asked", "got"),
    [(None, "cuda:0"), ("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_a_gpu_is_named_by_its_number(
    asked: str | None, got: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torch.cuda.set_device`, which every thread of the engine calls, refuses a bare "cuda"."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert loader.choose_device(LLMSpec(model_id="any", device=asked)) == torch.device(got)


def limits_of(config: Any, device: str, **fields: Any) -> loader.EngineLimits:
    loaded = loader.LoadedModel(
        SimpleNamespace(config=config), torch.device(device), torch.float32, 9, 9, 2048, ()
    )
    return loader.choose_limits(spec_of(Path("model"), **fields), loaded, 0)


def test_no_length_ends_positions_that_are_distances() -> None:
    assert limits_of(BloomConfig(), "cpu", max_model_len=4096).max_model_len == 4096
    with pytest.raises(ConfigurationError, match="2048"):
        limits_of(LlamaConfig(), "cpu", max_model_len=4096)


def test_a_share_of_the_memory_is_one_of_apples_gpu_and_of_no_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 64 * 2**30)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2**30)
    small, large = (
        limits_of(LlamaConfig(), "mps", gpu_memory_utilization=share).kv_bytes
        for share in (0.25, 0.5)
    )
    assert large - small == 16 * 2**30
    with pytest.raises(ConfigurationError, match="torch finds none"):
        limits_of(LlamaConfig(), "cpu", gpu_memory_utilization=0.5)
