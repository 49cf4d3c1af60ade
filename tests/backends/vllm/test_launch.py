"""The engine's configuration is `vllm serve`'s, and what is wrong is said before weights are
loaded.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.backends.vllm.environment import gpu_mask, prepare_environment
from openllm.backends.vllm.launch import _check_room, engine_config, launch, plan_arguments
from openllm.backends.vllm.stats import StatsBoard
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, WeightsError
from tests.tiny import write_adapter, write_encoder, write_llama

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("launch") / "model", max_position_embeddings=512)


def served(*options: str) -> Any:
    """The configuration that `vllm serve` makes of its command line."""
    from vllm import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser

    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    args = AsyncEngineArgs.from_cli_args(parser.parse_args(list(options)))
    return args.create_engine_config(UsageContext.OPENAI_API_SERVER)


def ours(weights: Path, **fields: Any) -> Any:
    return engine_config(
        plan_arguments(
            LLMSpec(model_id=str(weights), backend="vllm", **fields), weights, Settings()
        )
    )


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The fields in which two configurations differ, however deep."""
    if type(one) is not type(other):
        return [f"{path}: {type(one).__name__} and {type(other).__name__}"]
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        pairs = [
            (f"{path}.{name}", getattr(one, name, None), getattr(other, name, None))
            for name in names
        ]
    elif isinstance(one, dict) and one.keys() == other.keys():
        pairs = [(f"{path}[{key!r}]", one[key], other[key]) for key in one]
    elif hasattr(one, "to_dict"):  # transformers' configurations
        pairs = [(path, one.to_dict(), other.to_dict())]
    else:
        unlike = (
            one is not other
            and not (callable(one) and repr(type(one)) == repr(type(other)))
            and one != other
        )
        return [f"{path}: {one!r} and {other!r}"] if unlike else []
    return [line for name, first, second in pairs for line in differences(first, second, name)]


# Drawn anew for every engine.
OWN = (".instance_id", "_port", "_address", "_master_ip", ".engine_id")
CPU = ("--dtype", "float32", "--enforce-eager")
WHOLE = ("--no-enable-chunked-prefill",)  # on a CPU, where the size of a step was not said
CACHE = ("--kv-cache-memory-bytes", str(64 << 20))
SETS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "sizes": (
        {"max_model_len": 128, "max_num_seqs": 5, "enable_prefix_caching": False, "seed": 3},
        (
            "--max-model-len",
            "128",
            "--max-num-seqs",
            "5",
            "--no-enable-prefix-caching",
            "--seed",
            "3",
        ),
    ),
    "engine args": (
        {"engine_args": {"max_num_batched_tokens": "1k", "block_size": "32", "stream_interval": 2}},
        ("--max-num-batched-tokens", "1k", "--block-size", "32", "--stream-interval", "2"),
    ),
    "nested": (
        {
            "engine_args": {
                "compilation_config": '{"mode": 0}',
                "override_generation_config": '{"top_k": 3}',
            }
        },
        ("--compilation-config", '{"mode": 0}', "--override-generation-config", '{"top_k": 3}'),
    ),
    "lora": (
        {"max_adapters": 3, "max_lora_rank": 12},
        ("--enable-lora", "--max-loras", "4", "--max-lora-rank", "16"),
    ),
    "speculation": (
        {"engine_args": {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}}},
        ("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}'),
    ),
}


@pytest.mark.parametrize("case", SETS)
def test_the_configuration_is_what_vllm_serve_resolves(weights: Path, case: str) -> None:
    fields, options = SETS[case]
    mine = ours(weights, kv_cache_memory=64 << 20, **fields)
    whole = () if "--max-num-batched-tokens" in options else WHOLE
    theirs = served("--model", str(weights), *CPU, *CACHE, *whole, *options)
    found = [line for line in differences(mine, theirs) if not line.partition(":")[0].endswith(OWN)]
    assert found == []
    assert mine.compute_hash() == theirs.compute_hash()


def test_the_comparison_sees_a_difference(weights: Path) -> None:
    mine = ours(weights, kv_cache_memory=64 << 20, max_num_seqs=6)
    theirs = served("--model", str(weights), *CPU, *CACHE)
    assert [line for line in differences(mine, theirs) if ".max_num_seqs" in line]


def test_what_openllm_adds_by_itself_is_all_that_it_adds(weights: Path, tmp_path: Path) -> None:
    """Nothing is said but the model: what vLLM gets beyond it could be said to `vllm serve` as
    well.
    """
    small = write_llama(tmp_path / "small", max_position_embeddings=512, num_hidden_layers=1)
    long = write_llama(tmp_path / "long", max_position_embeddings=1 << 30)
    added: dict[str, tuple[LLMSpec, tuple[str, ...]]] = {
        "nothing": (LLMSpec(model_id=str(weights)), CACHE),
        "a context that does not fit": (
            LLMSpec(model_id=str(long)),
            ("--max-model-len", "--kv-cache-memory-bytes"),
        ),
        "a draft": (
            LLMSpec(model_id=str(weights), speculative_model=str(small)),
            (
                *CACHE,
                "--speculative-config",
                json.dumps({"model": str(small), "num_speculative_tokens": 4}),
            ),
        ),
    }
    for case, (spec, options) in added.items():
        made = plan_arguments(spec, Path(spec.model_id), Settings())
        if case == "a context that does not fit":  # the numbers follow from this machine's memory
            options = tuple(
                part
                for name in options
                for part in (name, str(made.values[name[2:].replace("-", "_")]))
            )
        theirs = served("--model", spec.model_id, *CPU, *WHOLE, *options)
        found = differences(engine_config(made), theirs)
        assert [line for line in found if not line.partition(":")[0].endswith(OWN)] == [], case


def test_an_embedding_model_gets_the_pooling_runner(tmp_path: Path) -> None:
    config = ours(write_encoder(tmp_path / "encoder"), task="embed")
    assert config.model_config.runner_type == "pooling"


def test_adapters_on_disk_set_the_rank(weights: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "wide", weights, rank=20)
    gone = str(tmp_path / "gone")  # mounting it will say so
    made = plan_arguments(
        LLMSpec(model_id=str(weights), adapters=(str(tmp_path / "wide"), gone)), weights, Settings()
    )
    assert made.values["max_lora_rank"] == 32
    assert made.values["max_loras"] == 3


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown engine argument": (
        {"engine_args": {"max_num_seq": 4}},
        ("max_num_seq", "Did you mean max_num_seqs"),
    ),
    "wrong type": (
        {"engine_args": {"max_num_seqs": "many"}},
        ("max_num_seqs", "whole number", "many"),
    ),
    "longer than the model": ({"max_model_len": 4096}, ("4096", "512", "at most")),
    "too little memory": (
        {"kv_cache_memory": 100_000, "max_model_len": 512},
        ("512 tokens needs 256KiB", "there are 98KiB", "kv_cache_memory=320KiB"),
    ),
    "too few blocks": (
        {"engine_args": {"num_gpu_blocks_override": 1}},
        ("512 tokens needs 256KiB", "max_model_len=128", "num_gpu_blocks_override=5"),
    ),
    "too small a share": (
        {"gpu_memory_utilization": 0.00001},
        ("512 tokens", "a higher gpu_memory_utilization"),
    ),
    "more than there is": (
        {"kv_cache_memory": 1 << 50},
        ("KV cache would take 1048576GiB", "are free", "smaller"),
    ),
    "unknown quantization": ({"quantization": "fp3"}, ("fp3",)),
    "unknown dtype": ({"dtype": "float33"}, ("dtype", "one of", "float32", "float33")),
    "unknown cache dtype": ({"kv_cache_dtype": "fp9"}, ("kv_cache_dtype", "fp8", "fp9")),
    "heads that do not divide": ({"tensor_parallel_size": 4}, ("heads (2)", "(4)")),
    "a field that is not there": (
        {"engine_args": {"compilation_config": {"mod": 0}}},
        ("at mod", "Unexpected"),
    ),
    "more workers than NUMA nodes": ({"tensor_parallel_size": 2}, ("NUMA nodes", "decrease")),
    "a parser that is not there": (
        {"engine_args": {"reasoning_parser": "foo"}},
        ("'foo' not found",),
    ),
    "no draft": (
        {"speculative_model": "/nowhere"},
        ("speculative model '/nowhere'", "There is no directory"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_weights_are_read(
    weights: Path, case: str, monkeypatch: Any
) -> None:
    fields, words = BAD[case]
    monkeypatch.setattr(
        "openllm.backends.vllm.launch._start", lambda *args: pytest.fail("the engine was started")
    )
    with pytest.raises(ConfigurationError) as caught:
        launch(LLMSpec(model_id=str(weights), **fields), weights, Settings(), StatsBoard())
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "a field of another type": (
        ('"num_attention_heads": 2', '"num_attention_heads": "two"'),
        ("config.json", "got str"),
    ),
    "sizes that do not fit": (
        ('"num_attention_heads": 2', '"num_attention_heads": 3'),
        ("hidden size (64)",),
    ),
    "a type nobody knows": (('"model_type": "llama"', '"model_type": "unheard"'), ("`unheard`",)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_config_is_one_line_and_vllm_adds_none(
    weights: Path, tmp_path: Path, case: str, capfd: Any
) -> None:
    model = shutil.copytree(weights, tmp_path / "broken")
    (old, new), words = BROKEN[case]
    text = (model / "config.json").read_text()
    assert old in text
    (model / "config.json").write_text(text.replace(old, new))
    capfd.readouterr()
    with pytest.raises((ConfigurationError, WeightsError)) as caught:
        launch(LLMSpec(model_id=str(model)), model, Settings(), StatsBoard())
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_the_draft_is_found_like_the_model(weights: Path, tmp_path: Path) -> None:
    small = write_llama(tmp_path / "small", max_position_embeddings=512, num_hidden_layers=1)
    spec = LLMSpec(
        model_id=str(weights),
        speculative_model=str(small),
        engine_args={"speculative_config": {"num_speculative_tokens": 2}},
    )
    assert plan_arguments(spec, weights, Settings()).values["speculative_config"] == {
        "model": str(small),
        "num_speculative_tokens": 2,
    }
    for file in small.glob("*.safetensors"):
        file.rename(small / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="speculative model"):
        plan_arguments(spec, weights, Settings())


def test_a_model_vllm_does_not_have_is_sent_to_pytorch(
    weights: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    model = tmp_path / "other"
    model.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((weights / name).read_bytes())
    text = (weights / "config.json").read_text()
    (model / "config.json").write_text(text.replace("LlamaForCausalLM", "NobodyKnowsForCausalLM"))
    monkeypatch.setattr(
        "openllm.backends.vllm.launch._start", lambda *args: pytest.fail("the engine was started")
    )
    with pytest.raises(
        ConfigurationError, match=r"does not support NobodyKnowsForCausalLM.*backend=pytorch"
    ):
        launch(LLMSpec(model_id=str(model)), model, Settings(), StatsBoard())


def test_the_room_of_the_default_configuration_is_enough(weights: Path) -> None:
    _check_room(ours(weights), weights, None)


def test_a_script_without_a_guard_is_told(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigurationError, match="__main__"):
        plan_arguments(LLMSpec(model_id=str(weights)), weights, Settings())


def test_the_environment_keeps_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    prepare_environment("cuda", "cuda:1", "4,6")
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    assert gpu_mask("cuda:2", None) == "2"
    assert gpu_mask("cuda", "4,6") is None
    assert gpu_mask(None, None) is None


def test_engine_args_reach_the_engine_typed(weights: Path) -> None:
    spec = LLMSpec(model_id=str(weights), engine_args={"max_num_seqs": "12"})
    assert plan_arguments(spec, weights, Settings()).values["max_num_seqs"] == 12
    assert (
        plan_arguments(attrs.evolve(spec, max_num_seqs=12), weights, Settings()).values[
            "max_num_seqs"
        ]
        == 12
    )
