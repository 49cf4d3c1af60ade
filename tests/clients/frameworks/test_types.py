"""Pyright on the sample that says what a type checker has to see of the public names; `make check`
holds mypy to the same one.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.clients.frameworks import HOME
from tests.clients.servers import PYTHON, REPOSITORY

PYRIGHT = HOME / "node_modules/.bin/pyright"


@pytest.mark.skipif(
    not shutil.which("node") or not PYRIGHT.exists(), reason="needs node and `make test-frameworks`"
)
def test_pyright_sees_the_overloads() -> None:
    sample = REPOSITORY / "tests/typed_sample.py"
    command = [PYRIGHT, "--pythonpath", PYTHON, sample]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, "0 errors" in done.stdout) == (0, True), done.stdout
