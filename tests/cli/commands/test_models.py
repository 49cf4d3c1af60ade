"""The families, and the models in the local store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from openllm import models
from tests.cli.conftest import Run


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
