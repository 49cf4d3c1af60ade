"""transformers' loading arguments on the PyTorch engine: kept, or refused before weights are
read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openllm import LLM
from openllm.errors import (
    ConfigurationError,
    MissingDependency,
    OpenLLMError,
    UnsupportedCombination,
)
from tests.tiny import write_llama


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("quantization") / "model")


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        (
            {"attn_implementation": "flash_attention_2"},
            UnsupportedCombination,
            "attention of its own",
        ),
        ({"quantization_config": {"quant_method": "nonsense"}}, ConfigurationError, "nonsense"),
        (
            {"quantization_config": {"load_in_8bit": True}, "quantization": "nf4"},
            UnsupportedCombination,
            "Both",
        ),
        ({"engine_args": {"prefill_tokens": 0}}, ConfigurationError, "prefill_tokens"),
        ({"max_memory": {0: "1GB"}}, ConfigurationError, "max_memory"),
    ],
)
async def test_what_cannot_be_honoured_is_refused(
    weights: Path, options: dict[str, Any], kind: type[OpenLLMError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await LLM(str(weights), backend="pytorch", **options).start()


async def test_a_missing_quantization_library_is_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else object()
    )
    with pytest.raises(MissingDependency, match="pip install bitsandbytes"):
        await LLM(str(weights), backend="pytorch", load_in_4bit=True).start()


async def test_sdpa_is_what_the_engine_computes_with(weights: Path) -> None:
    async with LLM(
        str(weights), backend="pytorch", attn_implementation="sdpa", torch_dtype="float32"
    ) as llm:
        assert (
            await llm.generate("hello", max_tokens=2, ignore_eos=True)
        ).usage.completion_tokens == 2
