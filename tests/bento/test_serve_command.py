"""`bentoml serve` with OPENLLM_VERIFY: what is not as it was built is not even imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import py_compile
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.inspect import verify_bento
from openllm.bento.serve_command import command
from openllm.config.spec import LLMSpec
from tests.bento.conftest import running


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo"))


def plant(built: BuildResult, tmp_path: Path) -> Path:
    """Code that Python runs instead of service.py, and the file that it writes."""
    mark, evil = tmp_path / "mark", tmp_path / "evil.py"
    evil.write_text(f"open({str(mark)!r}, 'w').close()\nraise SystemExit(3)\n")
    cache = importlib.util.cache_from_source(str(built.path / "src/service.py"))
    py_compile.compile(
        str(evil), cache, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    return mark


def test_bentoml_has_our_command() -> None:
    """Where this fails, what is installed is older than pyproject.toml: make install."""
    (found,) = importlib.metadata.entry_points(group="bentoml.commands", name="serve")
    assert found.load() is command


@pytest.mark.parametrize("by_path", [False, True])
def test_a_changed_bento_is_not_run(built: BuildResult, tmp_path: Path, by_path: bool) -> None:
    mark = plant(built, tmp_path)
    target = str(built.path) if by_path else built.tag
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", target],
        env={**environ(), "OPENLLM_VERIFY": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert not mark.exists()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert f"{built.tag} is not as it was built: src/__pycache__ was added." in line
    assert "Traceback" not in done.stderr


def test_what_is_no_bento_is_refused_rather_than_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "service.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENLLM_VERIFY", "1")
    for target in (".", "service:svc"):
        with pytest.raises(SystemExit) as ended:
            command.main([target])
        assert ended.value.code == 1
        assert f"Error: {target} is no Bento, so it cannot be checked." in capsys.readouterr().err


def test_a_bento_that_is_as_it_was_built_is_served_and_stays_so(
    built: BuildResult, tmp_path: Path
) -> None:
    """As in an image: nothing is imported from where it is started."""
    (tmp_path / "bentoml.py").write_text("raise AssertionError('it was imported')")
    arguments = ["bentoml", "serve", built.tag, "--host", "127.0.0.1"]
    environment = {"OPENLLM_VERIFY": "1", "PYTHONSAFEPATH": "1"}
    with running(arguments, tmp_path / "log", **environment) as server:
        server.wait_ready()
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    assert verify_bento(built.tag).problems == ()


def environ() -> dict[str, str]:
    return {**os.environ, "BENTOML_DO_NOT_TRACK": "True"}
