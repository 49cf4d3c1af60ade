"""The options of a spec: one for each field, typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.config.variables import SPEC_VARIABLES
from tests.cli.conftest import Run

OPTIONS = {
    "aliases": "--served-name",
    "adapters": "--adapter-id",
    "engine_args": "--engine-arg",
    "template_kwargs": "--default-chat-template-kwargs",
}


def _spec(run: Run, *args: str, **variables: str) -> Any:
    result = run(*args, "--print-spec", **variables)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", ["start", "build"])
def test_every_field_of_a_spec_has_an_option(run: Run, command: str) -> None:
    text = run(command, "--help").output
    for row in SPEC_VARIABLES:
        assert OPTIONS.get(row.field, f"--{row.field.replace('_', '-')}") in text


def test_help_shows_the_defaults(run: Run) -> None:
    text = " ".join(run("start", "--help").output.split())
    assert "TCP port of the API. [default: 3000]" in text
    assert "[default: 127.0.0.1]" in text
    assert "Answer requests for metrics without a key. [default: off]" in text
    assert "unset" not in text


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
        "family_defaults": True,
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


def test_how_answers_are_read_is_an_option(run: Run) -> None:
    args = ["--tool-format", "pythonic", "--reasoning-format", "none"]
    args += ["--default-chat-template-kwargs", '{"enable_thinking": false, "lang": "it"}']
    args += ["--default-chat-template-kwargs", "effort=low"]
    variables = {"OPENLLM_TOOL_FORMAT": "hermes", "OPENLLM_TEMPLATE_KWARGS": '{"lang": "fr"}'}
    found = _spec(run, "start", "demo", *args, **variables)
    assert (found["tool_format"], found["reasoning_format"]) == ("pythonic", "none")
    assert found["template_kwargs"] == {"enable_thinking": False, "lang": "it", "effort": "low"}


def test_a_format_that_there_is_not_is_one_line_with_the_nearest(run: Run) -> None:
    result = run("start", "demo", "--tool-format", "qwen3coder", "--print-spec")
    assert result.exit_code == 2
    assert "There is no --tool-format qwen3coder. Did you mean qwen3_coder?" in result.stderr
    result = run("start", "demo", "--print-spec", OPENLLM_REASONING_FORMAT="thinks")
    assert result.exit_code == 2
    assert "--reasoning-format thinks. Did you mean think?" in result.stderr


def test_a_key_that_is_given_twice_is_refused(run: Run) -> None:
    args = ["--sampling", '{"temperature": 0}', "--sampling", "temperature=1"]
    result = run("start", "demo", *args, "--print-spec")
    assert result.exit_code == 2
    assert "temperature is given twice" in result.stderr
