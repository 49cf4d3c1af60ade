"""The options of a spec: one for each field, typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.config.variables import SPEC_VARIABLES
from tests.cli.conftest import Run

OPTIONS = {"adapters": "--adapter-id", "engine_args": "--engine-arg"}


def _spec(run: Run, *args: str, **variables: str) -> Any:
    result = run(*args, "--print-spec", **variables)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", ["start", "build"])
def test_every_field_of_a_spec_has_an_option(run: Run, command: str) -> None:
    text = run(command, "--help").output
    for row in SPEC_VARIABLES:
        assert OPTIONS.get(row.field, f"--{row.field.replace('_', '-')}") in text


def test_options_are_typed(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    args = [
        "start",
        "llama",
        "--model-id",
        "./mine",
        "--max-model-len",
        "4096",
        "--kv-cache-memory",
        "64MiB",
    ]
    args += ["--enforce-eager", "--no-enable-prefix-caching", "--gpu-memory-utilization", "0.5"]
    args += [
        "--adapter-id",
        "./a:pirate",
        "--adapter-id",
        "org/b@v1:fr",
        "--chat-template",
        str(template),
    ]
    args += ["--engine-arg", "max-num-batched-tokens=2048", "--engine-arg", "load_format=dummy"]
    args += [
        "--engine-arg",
        'compilation={"level": 3}',
        "--sampling",
        "temperature=0.2",
        "--sampling",
        'stop=["a"]',
    ]
    assert _spec(run, *args) == {
        "model_id": "./mine",
        "family": "llama",
        "max_model_len": 4096,
        "kv_cache_memory": 64 * 2**20,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "gpu_memory_utilization": 0.5,
        "adapters": [
            {"name": "pirate", "source": "./a", "revision": None},
            {"name": "fr", "source": "org/b", "revision": "v1"},
        ],
        "chat_template": "{{ messages }}",
        "engine_args": {
            "max_num_batched_tokens": 2048,
            "load_format": "dummy",
            "compilation": {"level": 3},
        },
        "sampling": {"temperature": 0.2, "stop": ["a"]},
    }
