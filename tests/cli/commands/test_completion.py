"""`openllm completion`: what shells are given, and what they then offer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from openllm.config.servers import registered
from tests.bento.conftest import home
from tests.cli.conftest import Run

__all__ = ["home"]  # a store in this process, shared with the commands


def offered(run: Run, *words: str, **variables: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    said = {
        "_OPENLLM_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("openllm", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = run(**{**said, **variables})
    return [line.partition(",")[2] for line in result.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(run: Run, shell: str, tmp_path: Path) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_OPENLLM_COMPLETE" in result.stdout
    if (found := shutil.which(shell)) is not None:
        script = tmp_path / "script"
        script.write_text(result.stdout)
        subprocess.run([found, "-n", str(script)], check=True)
    assert run("completion", "tcsh").exit_code == 2


def test_commands_families_recipes_and_paths_are_offered(run: Run) -> None:
    assert "start" in offered(run, "st")
    assert "llama" in offered(run, "start", "lla")
    assert {"llama", "llama-3.1-8b-instruct"} <= set(offered(run, "start", "ll"))
    assert "qwen" in offered(run, "start", "--family", "q")
    assert "--max-model-len" in offered(run, "start", "--max-m")
    assert offered(run, "start", "./") == ["./"]  # a directory: the shell looks itself


def test_tags_and_servers_of_this_machine_are_offered(run: Run, home: Path) -> None:
    pulled = run("pull", "demo", "-o", "tag")
    assert pulled.exit_code == 0, pulled.stderr
    tag = pulled.stdout.strip()
    assert tag in offered(run, "rm", "de")
    assert tag in offered(run, "start", "demo:")
    with registered(home, "http://127.0.0.1:4567", ["parrot"]):
        assert offered(run, "ask", "--endpoint", "ht") == ["http://127.0.0.1:4567"]
        assert offered(run, "stop", "") == ["4567", "parrot"]
