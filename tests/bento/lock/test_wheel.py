"""Our own wheel: the same bytes for the same sources, whole, and installable."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import openllm
from openllm.bento.lock.wheel import wheel_name, wheel_record, write_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_is_the_same_each_time(wheel: Path, tmp_path: Path) -> None:
    assert wheel.name == wheel_name()
    assert write_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_it_has_the_package_its_data_and_its_metadata(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "openllm/__init__.py",
        "openllm/py.typed",
        "openllm/bento/lock/wheel.py",
        "openllm/_templates/service.py.jinja",
        "openllm/_bentos/demo.yaml",
    } <= names
    assert {name.rpartition("/")[2] for name in names if ".dist-info/" in name} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "LICENSE",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".safetensors")]


def test_record_has_every_file_and_its_digest(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
    text = archive.read(record).decode()
    assert text == wheel_record()
    rows = [line.rsplit(",", 2) for line in text.splitlines()]
    assert {name for name, _, _ in rows} == set(archive.namelist())
    for name, digest, size in rows:
        if name != record:
            data = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={expected}", len(data))


def test_pip_installs_it_and_it_makes_the_same_wheel_again(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(target),
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    program = (
        "import sys, pathlib, openllm, openllm.bento.lock.wheel as w\n"
        "assert pathlib.Path(openllm.__file__).is_relative_to(sys.path[0]), openllm.__file__\n"
        "print(w.write_wheel(pathlib.Path(sys.argv[1])))"
    )
    again = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(target)!r})\n{program}",
            str(tmp_path / "again"),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert Path(again.stdout.strip()).read_bytes() == wheel.read_bytes()


def test_its_version_is_the_package_s(wheel: Path) -> None:
    assert wheel.name.startswith(f"openllm-{openllm.__version__}-")
