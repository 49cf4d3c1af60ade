"""From a spec to vLLM's engine arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openllm.backends.vllm.arguments import (
    Machine,
    cpu_layout,
    engine_arguments,
    lora_rank,
)
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.hardware.fit import LEAST_CACHE
from openllm.hardware.shape import ModelShape

SHAPE = ModelShape(
    layers=16, heads=32, kv_heads=8, head_dim=64, vocab=128256, intermediate=8192, longest=131072
)
CUDA = Machine("cuda", gpus=1)
CPU = Machine("cpu", free_memory=16 * 2**30)
HERE = Path("/model")


def arguments(
    machine: Machine = CUDA, ranks: tuple[int, ...] = (), **fields: Any
) -> dict[str, Any]:
    return engine_arguments(LLMSpec(model_id="x", **fields), HERE, SHAPE, machine, ranks).values


def test_nothing_said_leaves_everything_to_vllm() -> None:
    assert arguments() == {"model": "/model", "tensor_parallel_size": 1}


def test_every_name_of_ours_reaches_vllm() -> None:
    said = {
        "dtype": "bfloat16",
        "quantization": "fp8",
        "max_model_len": 4096,
        "max_num_seqs": 64,
        "gpu_memory_utilization": 0.5,
        "kv_cache_memory": 2**30,
        "kv_cache_dtype": "fp8",
        "enable_prefix_caching": False,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 2,
        "distributed_executor": "mp",
        "enforce_eager": True,
        "seed": 7,
        "trust_remote_code": True,
    }
    renamed = {
        "kv_cache_memory": "kv_cache_memory_bytes",
        "distributed_executor": "distributed_executor_backend",
    }
    assert arguments(**said) == {"model": "/model"} | {
        renamed.get(key, key): value for key, value in said.items()
    }


def test_engine_args_pass_through() -> None:
    values = arguments(engine_args={"max_num_batched_tokens": 512, "block_size": 32})
    assert (values["max_num_batched_tokens"], values["block_size"]) == (512, 32)


def test_a_name_of_ours_and_vllms_own_must_agree() -> None:
    assert arguments(max_num_seqs=4, engine_args={"max_num_seqs": 4})["max_num_seqs"] == 4
    assert arguments(engine_args={"dtype": "float16"})["dtype"] == "float16"
    with pytest.raises(
        ConfigurationError,
        match="kv_cache_memory is 64 and the engine argument kv_cache_memory_bytes",
    ):
        arguments(kv_cache_memory=64, engine_args={"kv_cache_memory_bytes": 65})


@pytest.mark.parametrize(
    "name", ["model", "tokenizer", "served_model_name", "runner", "enable_lora"]
)
def test_what_openllm_decides_is_refused_with_the_option_to_use(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} itself. Use "):
        arguments(engine_args={name: "x"})


def test_tensor_parallel_follows_the_gpus_and_the_plan_is_told() -> None:
    made = engine_arguments(LLMSpec(model_id="x"), HERE, SHAPE, Machine("cuda", gpus=2))
    assert made.values["tensor_parallel_size"] == 2
    assert made.lines == (
        "Parallel plan: 2 GPUs visible, 32 heads, 8 key/value heads: tensor_parallel_size=2.",
    )
    assert (
        arguments(Machine("cuda", gpus=8), engine_args={"pipeline_parallel_size": 4})[
            "tensor_parallel_size"
        ]
        == 2
    )


def test_two_hosts_with_ray() -> None:
    values = arguments(
        Machine("cuda", gpus=8),
        tensor_parallel_size=8,
        pipeline_parallel_size=2,
        distributed_executor="ray",
    )
    assert values == {
        "model": "/model",
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 2,
        "distributed_executor_backend": "ray",
    }


def test_a_speculative_model() -> None:
    assert arguments(speculative_model="small")["speculative_config"] == {
        "model": "small",
        "num_speculative_tokens": 4,
    }
    values = arguments(
        speculative_model="small", engine_args={"speculative_config": {"num_speculative_tokens": 7}}
    )
    assert values["speculative_config"] == {"model": "small", "num_speculative_tokens": 7}
    ngram = {"method": "ngram", "num_speculative_tokens": 3}
    assert arguments(engine_args={"speculative_config": ngram})["speculative_config"] == ngram
    with pytest.raises(ConfigurationError, match="different models"):
        arguments(speculative_model="small", engine_args={"speculative_config": {"model": "other"}})


def test_embedding_uses_the_pooling_runner() -> None:
    assert arguments(task="embed")["runner"] == "pooling"


@pytest.mark.parametrize(
    ("machine", "fields", "ranks", "slots", "rank"),
    [
        (CUDA, {"adapters": ("a:x", "b:y")}, (), 2, 16),
        (CUDA, {"adapters": ("a:x", "b:y")}, (4, 20), 2, 32),
        (CUDA, {"adapters": ("a:x",), "max_adapters": 5}, (64,), 5, 64),
        (CUDA, {"max_adapters": 3, "max_lora_rank": 9}, (), 3, 16),
        (CUDA, {"max_lora_rank": 8}, (), 1, 8),
        (CPU, {"adapters": ("a:x", "b:y")}, (8,), 3, 8),  # the last slot stays empty
        (CPU, {"max_adapters": 4}, (), 5, 16),
        (CPU, {"engine_args": {"max_loras": 4}}, (), 4, 16),
    ],
)
def test_adapters_set_vllms_limits(
    machine: Machine, fields: dict[str, Any], ranks: tuple[int, ...], slots: int, rank: int
) -> None:
    values = arguments(machine, ranks, **fields)
    assert (values["enable_lora"], values["max_loras"], values["max_lora_rank"]) == (
        True,
        slots,
        rank,
    )


def test_without_adapters_there_is_no_lora() -> None:
    assert "enable_lora" not in arguments()
    assert lora_rank(1) == 8
    with pytest.raises(ConfigurationError, match="up to 512"):
        lora_rank(513)


def test_the_cpu_gets_what_it_needs_where_nothing_was_said() -> None:
    values = arguments(CPU, max_model_len=1024)
    layout = cpu_layout(SHAPE, "float32")
    assert values["dtype"] == "float32"
    assert values["enforce_eager"] is True
    assert values["enable_chunked_prefill"] is False
    assert "enable_chunked_prefill" not in arguments(
        CPU, engine_args={"max_num_batched_tokens": 512}
    )
    assert (
        arguments(CPU, engine_args={"enable_chunked_prefill": True})["enable_chunked_prefill"]
        is True
    )
    assert values["kv_cache_memory_bytes"] == max(layout.size(8 * 1024), LEAST_CACHE)
    said = arguments(CPU, dtype="bfloat16", enforce_eager=False, kv_cache_memory=2**20)
    assert (said["dtype"], said["enforce_eager"], said["kv_cache_memory_bytes"]) == (
        "bfloat16",
        False,
        2**20,
    )
    assert "kv_cache_memory_bytes" not in arguments(CPU, gpu_memory_utilization=0.2)


def test_the_cpu_gets_a_shorter_context_where_the_models_does_not_fit() -> None:
    made = engine_arguments(LLMSpec(model_id="x"), HERE, SHAPE, Machine("cpu", free_memory=2**30))
    longest, layout = made.values["max_model_len"], cpu_layout(SHAPE, "float32")
    assert 0 < longest < SHAPE.longest
    assert layout.size(longest) <= made.values["kv_cache_memory_bytes"] <= 2**30 // 4
    assert str(longest) in made.lines[0]
    asked = arguments(Machine("cpu", free_memory=2**30), max_model_len=65536)
    assert asked["max_model_len"] == 65536  # the check of the room tells the user


def test_a_model_nobody_knows_still_gets_a_cache() -> None:
    made = engine_arguments(LLMSpec(model_id="x"), HERE, ModelShape(), CPU)
    assert made.values["kv_cache_memory_bytes"] == 4 * 2**30
