"""What an image installs beyond its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openllm.bento.lock import completion
from tests.bento.lock.distributions import install_only


def test_an_image_gets_what_another_build_of_a_package_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(
        completion.subprocess, "run", lambda command, check: calls.append(command) or _Done()
    )
    install_only(
        monkeypatch, torch=["nvidia-cublas==13", "triton==3", "text"], xgrammar=["triton"], text=[]
    )
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# left out: xgrammar -> triton\ntorch==1\n")
    assert completion.main(str(requirements)) == 0
    assert calls == [[sys.executable, "-m", "pip", "install", "nvidia-cublas==13", "triton==3"]]


def test_an_image_that_lacks_nothing_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(completion.subprocess, "run", None)
    install_only(monkeypatch, torch=["text"], xgrammar=["triton"], text=[])
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# left out: xgrammar -> triton\ntorch==1\n")
    assert completion.main(str(requirements)) == 0


def test_a_lock_with_hashes_is_not_added_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_only(monkeypatch, torch=["nvidia-cublas==13"])
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"torch==1 --hash=sha256:{'a' * 64}\n")
    assert completion.main(str(requirements)) == 1
    assert (
        capsys.readouterr().err
        == "ERROR: The packages need nvidia-cublas==13, for which the lock has no hash.\n"
    )


class _Done:
    returncode = 0


def test_it_has_a_name_that_never_changes(tmp_path: Path) -> None:
    """An image is made by today's Dockerfile, and runs the wheel that its Bento was built with."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"torch==1 --hash=sha256:{'a' * 64}\n")  # so that nothing is installed
    command = [sys.executable, "-m", "openllm.bento.completion", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 or done.stderr.startswith("ERROR: The packages need ")
