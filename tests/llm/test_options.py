"""How long a context may be asked for, beside what config.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from openllm.backends.vllm.backend import VLLMBackend
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.llm.options import check_options

LLAMA = {"model_type": "llama", "max_position_embeddings": 2048}
STRETCHED = {"rope_type": "yarn", "factor": 4.0}


def check(directory: Path, config: dict[str, Any], **options: Any) -> None:
    (directory / "config.json").write_text(json.dumps(config))
    spec = LLMSpec(model_id=str(directory), backend="vllm", max_model_len=8192, **options)
    with mock.patch("openllm.llm.options.select_backend", return_value=(VLLMBackend, "said")):
        check_options(spec, directory, Settings(bentoml_home=directory))


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        (LLAMA, {"hf_overrides": {"rope_scaling": STRETCHED}}),
        (LLAMA, {"rope_scaling": STRETCHED}),
        (LLAMA, {"rope_parameters": STRETCHED}),
        ({"model_type": "bloom", "seq_length": 2048}, {}),
        ({"model_type": "falcon", "max_position_embeddings": 2048, "alibi": True}, {}),
    ],
)
def test_a_context_that_the_engine_can_stretch_is_the_engines_to_judge(
    tmp_path: Path, config: dict[str, Any], arguments: dict[str, Any]
) -> None:
    check(tmp_path, config, engine_args=arguments)


def test_the_users_word_to_vllm_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    check(tmp_path, LLAMA)


@pytest.mark.parametrize(
    "config",
    [LLAMA, {"model_type": "mpt", "max_seq_len": 2048, "attn_config": {"alibi": True}}],
)
def test_what_nothing_stretches_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"context of 2048 tokens"):
        check(tmp_path, config, engine_args={"max_num_seqs": 4})
