"""The local store from the command line: fetched, listed, shown, checked, removed, pruned."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from openllm.cli import cli
from openllm.weights.store import PULLED, find_tag
from tests.bento.conftest import home
from tests.cli.conftest import Run

__all__ = ["home"]  # a store in this process, shared with the commands
Pull = Callable[[], str]


@pytest.fixture
def run(environment: dict[str, str], home: Path) -> Run:
    """As tests/cli has it, on the store that is in force in this process."""
    return lambda *args: CliRunner().invoke(cli, args, env={"BENTOML_HOME": str(home)})


@pytest.fixture
def pull(run: Run) -> Pull:
    """Pull the demo; its tag."""

    def demo() -> str:
        result = run("pull", "demo", "-o", "tag")
        assert result.exit_code == 0, result.stderr
        return result.stdout.strip()

    return demo


def write_bento(home: Path, tag: str) -> None:
    path = home / "bentos" / "mine" / "1"
    path.mkdir(parents=True)
    (path / "bento.yaml").write_text(json.dumps({"models": [{"tag": tag}]}))


def test_a_model_is_pulled_once_and_listed(run: Run, pull: Pull) -> None:
    tag = pull()
    again = run("import", "demo", "-o", "json")
    assert json.loads(again.stdout)["new"] is False
    (item,) = json.loads(run("list", "-o", "json").stdout)
    assert item["tag"] == tag
    assert item["own"] <= item["size"]
    table = run("list", "--size").stdout
    assert table.split()[:5] == ["MODEL", "SIZE", "OWN", "STORED", "BENTOS"]
    assert tag in table
    shown = json.loads(run("show", tag, "-o", "json").stdout)
    assert shown["architecture"] == "LlamaForCausalLM"
    assert "model.safetensors" in shown["files"]


def test_quiet_says_nothing_of_progress(run: Run, pull: Pull) -> None:
    result = run("pull", "demo", "--quiet", "-o", "tag")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.strip() == pull()
    assert "Reading demo" in run("pull", "demo").stderr
    assert "The model store has no demo:1." in run("-q", "rm", "demo:1").stderr


def test_a_family_is_shown(run: Run) -> None:
    shown = run("show", "llama")
    assert "meta-llama/Llama-3.2-1B-Instruct" in shown.stdout
    missing = run("show", "lama")
    assert missing.exit_code == 2
    assert "llama" in missing.stderr


def test_a_changed_file_is_named(run: Run, pull: Pull, home: Path) -> None:
    tag = pull()
    assert run("verify", tag).stdout == f"{tag} is as it was stored.\n"
    config = find_tag(tag, home) / "config.json"
    config.write_text(config.read_text() + " ")
    found = run("verify", "demo:latest")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith(f"Error: {tag} is not as it was stored: config.json. Remove it")


def test_what_a_bento_needs_is_kept(run: Run, pull: Pull, home: Path) -> None:
    tag = pull()
    write_bento(home, tag)
    refused = run("rm", tag)
    assert refused.exit_code == 1
    assert f"{tag} is needed by mine:1." in refused.stderr
    assert json.loads(run("prune", "--unused", "-o", "json").stdout)["removed"] == []
    assert json.loads(run("list", "-o", "json").stdout)[0]["bentos"] == ["mine:1"]
    assert run("rm", tag, "--force").exit_code == 0
    assert run("list").stdout.startswith("The local store holds no models yet")
    assert not (home / "models" / "demo").exists()


def test_prune_takes_what_nothing_needs(run: Run, pull: Pull, home: Path) -> None:
    tag = pull()
    assert json.loads(run("prune", "-o", "json").stdout)["removed"] == []
    assert "would be freed" in run("prune", "--unused", "--dry-run").stdout
    assert (
        json.loads(run("prune", "--unused", "--older-than", "1h", "-o", "json").stdout)["removed"]
        == []
    )
    (home / PULLED / tag).unlink()  # as if it had been stored for a Bento
    (removed,) = json.loads(run("prune", "-o", "json").stdout)["removed"]
    assert (removed["name"], removed["why"]) == (tag, "no Bento needs it")
    assert not (home / "models" / "demo").exists()


def test_prune_leaves_what_others_stored_and_takes_what_was_cut_off(run: Run, home: Path) -> None:
    foreign = home / "models" / "other" / "1"
    foreign.mkdir(parents=True)
    (foreign / "model.yaml").write_text("name: other")
    old, fresh = home / "tmp" / "openllm-old", home / "tmp" / "openllm-new"
    for path in (old, fresh):
        path.mkdir(parents=True)
        (path / "weights").write_bytes(b"x" * 100)
    before = time.time() - 2 * 86400
    for path in (old, old / "weights"):
        os.utime(path, (before, before))
    result = json.loads(run("prune", "--unused", "-o", "json").stdout)
    assert (result["bytes"], [item["name"] for item in result["removed"]]) == (100, ["openllm-old"])
    assert foreign.is_dir()
    assert fresh.is_dir()
    assert not old.exists()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("rm", "demo:1"), 1, "The model store has no demo:1."),
        (("rm",), 2, "Missing argument"),
        (("prune", "--older-than", "long"), 2, "'long' is no age"),
        (("pull", "./nowhere"), 1, "nowhere"),
        (("show", "demo:1"), 1, "The model store has no demo:1."),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, args: tuple[str, ...], code: int, says: str) -> None:
    result = run(*args)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bento_that_cannot_be_read_stops_what_would_remove(run: Run, home: Path) -> None:
    path = home / "bentos" / "mine" / "1"
    path.mkdir(parents=True)
    (path / "bento.yaml").write_text("- [")
    result = run("prune")
    assert result.exit_code == 1
    assert "what its Bento needs is not known" in result.stderr
