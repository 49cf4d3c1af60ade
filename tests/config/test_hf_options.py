"""transformers' argument names mean the same here, or are refused."""

from __future__ import annotations

from typing import Any

import pytest

from openllm import LLM
from openllm.config.hf_options import translate_options
from openllm.errors import ConfigurationError


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"torch_dtype": "bfloat16"}, {"dtype": "bfloat16"}),
        ({"dtype": "float32", "revision": "main"}, {"dtype": "float32", "revision": "main"}),
        ({"device_map": "auto"}, {}),
        ({"device_map": "cuda:1"}, {"device": "cuda:1"}),
        ({"device_map": {"": 0}}, {"device": "cuda:0"}),
        ({"device_map": "cpu", "device": "cpu"}, {"device": "cpu"}),
        ({"load_in_4bit": True}, {"quantization": "nf4"}),
        ({"load_in_8bit": False, "use_safetensors": True}, {}),
        ({"local_files_only": False, "cache_dir": None}, {}),
        ({"attn_implementation": "sdpa"}, {"engine_args": {"attn_implementation": "sdpa"}}),
        (
            {"attn_implementation": "sdpa", "engine_args": {"x": 1}},
            {"engine_args": {"x": 1, "attn_implementation": "sdpa"}},
        ),
    ],
)
def test_names_are_translated(given: dict[str, Any], ours: dict[str, Any]) -> None:
    assert translate_options(given) == ours


def test_torch_and_transformers_objects_are_taken() -> None:
    torch = pytest.importorskip("torch")
    from transformers import BitsAndBytesConfig

    spec = LLM(
        "demo", backend="pytorch", torch_dtype=torch.float16, device=torch.device("cpu")
    ).spec
    assert (spec.dtype, spec.device) == ("float16", "cpu")
    config = BitsAndBytesConfig(load_in_8bit=True)
    spec = LLM("demo", backend="pytorch", quantization_config=config).spec
    assert spec.engine_args["quantization_config"]["load_in_8bit"] is True


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"local_files_only": True}, "HF_HUB_OFFLINE"),
        ({"cache_dir": "/tmp/x"}, "HF_HUB_CACHE"),
        ({"use_auth_token": "hf_x"}, "Pass token"),
        ({"device_map": "balanced"}, "tensor_parallel_size"),
    ],
)
def test_what_has_another_place_here_is_told(options: dict[str, Any], instead: str) -> None:
    with pytest.raises(ConfigurationError, match=instead):
        LLM("demo", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"device_map": {"a": 0, "b": 1}},
        {"use_safetensors": False},
        {"torch_dtype": "float16", "dtype": "float32"},
        {"gguf_file": "x.gguf"},
    ],
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LLM("demo", backend="pytorch", **options)
