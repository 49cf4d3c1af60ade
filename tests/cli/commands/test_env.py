"""The commands that print what is there: families, stored models, versions, variables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import openllm
from openllm import models
from openllm.cli.output import readable_size
from openllm.config.settings import all_variables
from tests.cli.conftest import Run

DOCS = Path(openllm.__file__).parents[1] / "docs" / "configuration.md"


def _store(
    home: Path, name: str, version: str, config: dict[str, Any] | None, info: str = ""
) -> Path:
    path = home / "models" / name / version
    path.mkdir(parents=True)
    (path / "model.yaml").write_text(f"name: {name}\nversion: {version}\n{info}")
    (path / "model.safetensors").write_bytes(b"\0" * 3 * 2**20)
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return path


def test_models_lists_every_family(run: Run) -> None:
    result = run("models")
    assert (result.exit_code, result.stderr) == (0, "")
    for family in models.all_families():
        assert re.search(
            rf"^{family.name} +{re.escape(family.default_id or '-')} ", result.stdout, re.MULTILINE
        )
    assert "The local store holds no models yet" in result.stdout


def test_models_lists_the_local_store(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "bentoml"
    path = _store(home, "mine", "1f3a", {"architectures": ["Qwen2ForCausalLM"]})
    _store(
        home,
        "kept",
        "9",
        {"architectures": ["LlamaForCausalLM"]},
        "metadata: {hub_id: meta-llama/Llama-3.1-8B}\n",
    )
    _store(home, "pirate", "77", None, "metadata: {kind: lora}\n")
    _store(home, "broken", "1", {})
    result = run("models")
    assert re.search(r"^mine:1f3a +qwen +3\.0 MiB$", result.stdout, re.MULTILINE)
    assert re.search(r"^kept:9 +llama +", result.stdout, re.MULTILINE)
    assert re.search(r"^pirate:77 +- +", result.stdout, re.MULTILINE)
    assert re.search(r"^broken:1 +- +", result.stdout, re.MULTILINE)
    stored = {
        item["tag"]: item for item in json.loads(run("models", "-o", "json").stdout)["stored"]
    }
    assert stored["mine:1f3a"]["architecture"] == "Qwen2ForCausalLM"
    assert stored["mine:1f3a"]["path"] == str(path)
    assert stored["pirate:77"]["family"] is None


def test_models_as_json_says_what_the_registry_knows(run: Run) -> None:
    families = {
        item["name"]: item for item in json.loads(run("models", "-o", "json").stdout)["families"]
    }
    assert sorted(families) == models.names()
    llama = families["llama"]
    assert llama["default_id"] in llama["model_ids"]
    assert "LlamaForCausalLM" in llama["architectures"]
    assert "pytorch" in llama["backends"]


def test_env_shows_versions_devices_and_variables(run: Run) -> None:
    result = run("env", OPENLLM_API_KEY="sk-hidden", OPENLLM_SEED="7")
    assert result.exit_code == 0
    assert re.search(rf"^openllm +{re.escape(openllm.__version__)}$", result.stdout, re.MULTILINE)
    assert re.search(r"^OPENLLM_SEED +7 +Seed of the engine", result.stdout, re.MULTILINE)
    assert re.search(r"^OPENLLM_API_KEY +\(set\) ", result.stdout, re.MULTILINE)
    assert "sk-hidden" not in result.output


def test_env_as_json_has_every_variable(run: Run) -> None:
    result = run("env", "-o", "json", OPENLLM_API_KEY="sk-hidden")
    found = json.loads(result.stdout)
    assert [item["name"] for item in found["variables"]] == [row.name for row in all_variables()]
    assert found["devices"]
    assert "sk-hidden" not in result.output


def test_env_warns_of_a_variable_that_nobody_knows(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("env", OPENLLM_BAKEND="echo").exit_code == 0
    assert caplog.messages == ["Unknown variable OPENLLM_BAKEND. Did you mean OPENLLM_BACKEND?"]


def test_the_page_on_configuration_has_the_table_as_it_is(run: Run) -> None:
    table = run("env", "-o", "markdown").stdout.strip()
    assert table in DOCS.read_text(encoding="utf-8"), (
        "replace the table by the output of `openllm env -o markdown`"
    )


def test_recipes_that_come_along_can_be_resolved(run: Run) -> None:
    for recipe in json.loads(run("recipes", "-o", "json").stdout):
        assert run("build", recipe["name"], "--print-spec").exit_code == 0
        assert recipe["title"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert readable_size(size) == text
