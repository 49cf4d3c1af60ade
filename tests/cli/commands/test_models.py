"""The families, and the models in the local store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openllm import models
from openllm.hardware.memory import MachineMemory
from openllm.llm import planning
from tests.cli.conftest import Run

GIB = 2**30


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


def test_models_are_found_by_what_is_said_of_them(run: Run) -> None:
    lines = run("models", "--search", "vision qwen2.5").stdout.splitlines()
    assert lines[0].split()[-2:] == ["FITS", "HERE"]
    sizes = ("3B", "7B", "32B", "72B")
    assert [line.split()[0] for line in lines[1:]] == [
        f"Qwen/Qwen2.5-VL-{size}-Instruct" for size in sizes
    ]
    assert "qwen-research" in lines[1]
    found = json.loads(run("models", "--search", "reranker", "-o", "json").stdout)["families"]
    assert {family["task"] for family in found} == {"classify"}
    cards = {name: card for family in found for name, card in family["cards"].items()}
    assert {card["fits"] for card in cards.values()} <= {"yes", "quantised", "no", "unknown"}
    nothing = run("models", "--search", "no-such-model-anywhere")
    assert (nothing.exit_code, nothing.stdout.count("\n")) == (0, 1)
    assert json.loads(run("models", "--search", "no-such-model", "-o", "json").stdout) == {
        "families": [],
        "stored": [],
    }


def test_those_that_fit_are_told_from_those_that_do_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "machine_memory", lambda: MachineMemory(8 * GIB, 8 * GIB))
    monkeypatch.setattr(planning, "visible_gpus", lambda mask: ())
    shown = json.loads(run("show", "llama", "-o", "json").stdout)["cards"]
    assert shown["meta-llama/Llama-3.2-1B-Instruct"]["fits"] == "yes"
    assert shown["meta-llama/Llama-3.1-405B-Instruct"]["fits"] == "no"
    fitting = run("models", "--search", "llama", "--fits").stdout
    assert "meta-llama/Llama-3.2-1B-Instruct" in fitting
    assert "405B" not in fitting
    table = run("show", "llama").stdout
    assert re.search(r"^meta-llama/Llama-3.1-405B-Instruct .* no$", table, re.MULTILINE)


def test_what_is_stored_is_looked_for_too_and_says_whether_it_fits(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "bentoml"
    _store(home, "mine", "1f3a", {"architectures": ["Qwen2ForCausalLM"]})
    _store(home, "other", "77", None)
    assert "mine:1f3a" in run("models", "--search", "qwen").stdout
    stored = json.loads(run("models", "--search", "mine", "-o", "json").stdout)["stored"]
    assert [item["tag"] for item in stored] == ["mine:1f3a"]
    assert json.loads(run("show", "other:77", "-o", "json").stdout)["fits"] == "unknown"
