"""The table of variables is complete, typed and the same in both directions."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import openllm
from openllm.config import settings, variables
from openllm.config.settings import (
    Settings,
    all_variables,
    foreign_environment,
    spec_layer,
    unknown_variables,
)
from openllm.config.spec import EXECUTORS, TASKS, LLMSpec
from openllm.config.variables import Variable
from openllm.discovery import variants
from openllm.errors import ConfigurationError
from openllm.facts import backend_names

# What is called from outside, or begins a process, beside the commands.
DOORS = {
    "bento/serve_command.py",
    "http/app.py",  # create_app
    "llm/llm.py",  # LLM(...)
    "llm/auto.py",  # AutoLLM.from_pretrained
    "remote/__main__.py",
    "bento/build.py",
    "bento/compose.py",  # depends, service
    "bento/services/llm.py",  # create_service
    "bento/serving/api_worker.py",
    "ray/plan.py",  # openllm.ray.app
    "ray/replica.py",
}


def test_defaults_are_the_safe_ones() -> None:
    got = Settings.from_env({})
    assert (got.host, got.port, got.max_body_bytes) == ("127.0.0.1", 3000, 32 * 1024**2)
    assert (got.max_n, got.max_stop, got.max_logprobs, got.max_prompts) == (128, 16, 20, 1024)
    assert got.api_key is None
    assert (got.trust_request_chat_template, got.access_log) == (False, False)


def test_spec_rows_are_exactly_the_fields_of_llmspec() -> None:
    assert [row.field for row in variables.SPEC_VARIABLES] == [
        field.name for field in attrs.fields(LLMSpec)
    ]


def test_choices_are_those_of_the_spec() -> None:
    rows = {row.field: row for row in variables.SPEC_VARIABLES}
    assert rows["backend"].choices == backend_names()
    assert rows["task"].choices == TASKS
    assert rows["distributed_executor"].choices == EXECUTORS


def test_every_row_is_documented_once_and_has_a_parser() -> None:
    rows = all_variables()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.meaning.endswith(".") and row.kind in variables.PARSERS for row in rows)


def test_typed_values_are_read() -> None:
    got = Settings.from_env(
        {
            "OPENLLM_HOST": "0.0.0.0",
            "OPENLLM_PORT": "8080",
            "OPENLLM_MAX_BODY_BYTES": "1.5MiB",
            "OPENLLM_ACCESS_LOG": "Yes",
            "OPENLLM_DRAIN_SECONDS": "2.5",
            "OPENLLM_CORS_ORIGINS": "https://a.example, https://b.example,",
            "OPENLLM_ADAPTER_ROOT": "adapters",
            "BENTOML_HOME": "/srv/bento",
        }
    )
    assert (got.host, got.port, got.max_body_bytes, got.access_log) == (
        "0.0.0.0",
        8080,
        3 * 2**19,
        True,
    )
    assert (got.drain_seconds, got.cors_origins) == (
        2.5,
        ("https://a.example", "https://b.example"),
    )
    assert (got.adapter_root, got.bentoml_home) == (Path("adapters"), Path("/srv/bento"))


def test_an_empty_variable_counts_as_unset_but_not_an_empty_device_list() -> None:
    got = Settings.from_env(
        {"OPENLLM_PORT": "", "OPENLLM_LOG_LEVEL": "  ", "CUDA_VISIBLE_DEVICES": ""}
    )
    assert (got.port, got.log_level, got.visible_devices) == (3000, "info", "")
    assert Settings.from_env({}).visible_devices is None


@pytest.mark.parametrize("name", ["OPENLLM_API_KEY", "OPENLLM_ADMIN_KEY"])
def test_an_empty_key_is_refused_because_it_would_open_the_server(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is set but empty"):
        Settings.from_env({name: ""})


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("OPENLLM_PORT", "http", "is not a whole number"),
        ("OPENLLM_PORT", "65536", "port must be from 0 to 65535"),
        ("OPENLLM_PORT", "9" * 30, "is not a whole number"),
        ("OPENLLM_MAX_BODY_BYTES", "32 Mio", "is not a size in bytes"),
        ("OPENLLM_MAX_BODY_BYTES", "0", "must be at least 1"),
        ("OPENLLM_ACCESS_LOG", "maybe", "is neither true nor false"),
        ("OPENLLM_DRAIN_SECONDS", "nan", "is not a finite number"),
        ("OPENLLM_DRAIN_SECONDS", "-1", "must not be negative"),
        ("OPENLLM_LOG_LEVEL", "loud", "is not one of debug, info, warning, error"),
        ("OPENLLM_PROTOCOLS", "native, opneai", r"no protocol 'opneai'\. Did you mean openai\?"),
    ],
)
def test_a_bad_value_names_the_variable(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Settings.from_env({name: text})
    assert caught.value.param == name.removeprefix("OPENLLM_").lower()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("OPENLLM_ENGINE_ARGS", "[1]", "is not a JSON object"),
        ("OPENLLM_ENGINE_ARGS", "{", "is not a JSON object"),
        ("OPENLLM_BACKEND", "vlm", "is not one of vllm"),
        ("OPENLLM_MAX_MODEL_LEN", "4k", "is not a whole number"),
    ],
)
def test_a_bad_spec_value_names_the_variable(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: .*{says}"):
        spec_layer({name: text})


def test_a_secret_is_never_shown() -> None:
    got = Settings.from_env({"OPENLLM_API_KEY": "sk-hidden"})
    assert got.api_key == "sk-hidden"
    assert "sk-hidden" not in repr(got)


def test_spec_layer_is_typed_and_fits_the_spec() -> None:
    layer = spec_layer(
        {
            "OPENLLM_MODEL_ID": "demo",
            "OPENLLM_MAX_MODEL_LEN": "4096",
            "OPENLLM_KV_CACHE_MEMORY": "64MiB",
            "OPENLLM_ENFORCE_EAGER": "true",
            "OPENLLM_ADAPTERS": "./a:pirate, org/b@main:fr",
            "OPENLLM_SAMPLING": '{"temperature": 0.2}',
            "OPENLLM_SEED": "",
            "OPENLLM_PORT": "1",
            "HOME": "/root",
        }
    )
    spec = LLMSpec.from_dict(layer)
    assert (spec.max_model_len, spec.kv_cache_memory, spec.enforce_eager) == (
        4096,
        64 * 2**20,
        True,
    )
    assert [adapter.name for adapter in spec.adapters] == ["pirate", "fr"]
    assert spec.sampling == {"temperature": 0.2}
    assert set(layer) == {
        "model_id",
        "max_model_len",
        "kv_cache_memory",
        "enforce_eager",
        "adapters",
        "sampling",
    }


def test_unknown_variables_are_a_warning_with_the_nearest_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        Settings.from_env({"OPENLLM_PROT": "1", "OPENLLM_BACKEND": "echo", "PROT": "1"})
    assert caplog.messages == ["Unknown variable OPENLLM_PROT. Did you mean OPENLLM_PORT?"]
    assert unknown_variables({"OPENLLM_ZZZZZZ": ""}) == ["Unknown variable OPENLLM_ZZZZZZ."]


def test_children_inherit_everything_but_our_own_variables() -> None:
    assert foreign_environment({"OPENLLM_SEED": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


_TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters=","), min_size=1)
_VALUES = {
    "text": _TEXTS,
    "verbatim": st.text(st.characters(exclude_categories=("C",))),
    "path": _TEXTS.filter(lambda text: not text.startswith("~")).map(Path),
    "integer": st.integers(1, 65535),
    "size": st.integers(1, 2**50),
    "number": st.floats(0, 1e12),
    "switch": st.booleans(),
    "list": st.lists(_TEXTS, max_size=3).map(tuple),
}


_PROTOCOLS = st.lists(st.sampled_from(sorted(variants("openllm.protocols"))), max_size=3)


def _values(row: Variable) -> st.SearchStrategy[Any]:
    if row.field == "protocols":  # a list of known names
        return _PROTOCOLS.map(tuple)
    return st.sampled_from(row.choices) if row.choices else _VALUES[row.kind]


@st.composite
def _settings(draw: st.DrawFn) -> Settings:
    rows = draw(
        st.lists(st.sampled_from(settings.setting_variables()), unique_by=lambda row: row.name)
    )
    values = {row.field: draw(_values(row)) for row in rows}
    assume(values.get("api_key") is None or values["api_key"] != values.get("admin_key"))
    return Settings(**values)


@given(_settings())
def test_to_env_and_from_env_are_inverse(value: Settings) -> None:
    assert Settings.from_env(value.to_env()) == value


def test_no_other_module_reads_the_environment() -> None:
    """Writing is another matter: some engines take their settings from variables only."""
    root = Path(openllm.__file__).parent
    readers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(
            r"\bgetenv\b|os\.environ(?!\[[^]]+\] = |\.setdefault\(|\.update\(|\.pop\()", line
        )
    }
    assert readers == {"config/settings.py"}


def test_settings_are_read_at_the_doors_only() -> None:
    """Everybody else is given them: a second reading can differ from what the first was told."""
    root = Path(openllm.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bSettings\.from_env\(\)", path.read_text(encoding="utf-8"))
    }
    commands = {name for name in found if name.startswith("cli/")}
    assert found - commands == DOORS
    below = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bspec_layer\(\)", path.read_text(encoding="utf-8"))
    }
    doors = {"llm/resolve.py", "cli/given/specs.py", "bento/services/llm.py", "ray/plan.py"}
    assert below == doors
