"""How the container engine is called, and what becomes of its failures. No engine is needed."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult
from openllm.bento.image.container import ContainerImage, containerize
from openllm.bento.image.dockerfile import ContainerOptions, Contents, render_dockerfile
from openllm.bento.image.engine import ENGINES, find_engine
from openllm.errors import BuildError, ServeError
from tests.bento.image.engines import DIGEST, install


def test_the_first_engine_that_is_installed_is_taken(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(record))
    for wanted, said in [
        (None, "No container engine is installed. Install one of docker, podman, buildah"),
        ("buildah", "buildah is not installed. Install one of docker, podman, buildah"),
        ("lxc;x", "There is no container engine 'lxc;x' here. Take docker, podman, buildah."),
    ]:
        with pytest.raises(BuildError) as error:
            find_engine(wanted)
        assert said in str(error.value)
    install(record, monkeypatch, "buildah")
    assert find_engine("buildah") is ENGINES["buildah"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_builds_our_dockerfile_with_the_models(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    install(record, monkeypatch, engine)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://user:pass@index.example/simple")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    options = ContainerOptions(name="my/parrot:1", engine=engine, platform="linux/arm64")
    made = containerize(built.tag, options)
    assert (made.name, made.engine) == ("my/parrot:1", engine)
    arguments = (record / "arguments").read_text().splitlines()
    assert arguments[0] == "build"
    assert arguments[arguments.index("--tag") + 1] == "my/parrot:1"
    assert arguments[arguments.index("--platform") + 1] == "linux/arm64"
    assert ("--format" in arguments) == ("--layers" in arguments) == (engine != "docker")
    epoch = "--build-arg=SOURCE_DATE_EPOCH" if engine == "docker" else "--timestamp"
    assert f"{epoch}=1700000000" in arguments
    assert arguments[arguments.index("--file") + 1] == str(
        Path(arguments[-1]).parent / "Dockerfile"
    )
    assert not Path(arguments[-1]).exists()  # nothing is left behind
    contents = Contents(
        built.tag, built.specs, (built.models[0].tag.replace(":", "/"),), created=1700000000
    )
    expected = render_dockerfile(contents, options)
    assert (record / "work/Dockerfile").read_text() == expected
    assert [path.name for path in (record / "work/context/models").iterdir()] == ["parrot"]
    assert Path((record / "temporary").read_text().strip()).parent == Path(arguments[-1]).parent


def test_files_have_one_time_in_the_images_of_all_bentos(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    containerize(built.tag)
    assert "--timestamp=315532800" in (record / "arguments").read_text().splitlines()
    assert "image.created=" in (record / "work/Dockerfile").read_text()
    assert "1980-01-01" not in (record / "work/Dockerfile").read_text()


def test_where_packages_are_is_a_secret_of_the_build(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://user:pass@index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more wheels%20")
    containerize(built.tag)
    arguments = (record / "arguments").read_text()
    assert "pass" not in arguments
    (secret,) = (line for line in arguments.splitlines() if line.startswith("id="))
    assert re.fullmatch(r"id=pip,src=.*/pip", secret)
    kept = record / "work/pip"
    assert kept.stat().st_mode & 0o777 == 0o600
    found = configparser.RawConfigParser()
    found.read(kept)
    assert found["global"]["extra-index-url"].split() == ["https://user:pass@index.example/simple"]
    assert found["global"]["find-links"].split() == ["/wheels", "/more", "wheels%20"]
    left = [path for path in (record / "work").rglob("*") if path.is_file() and path != kept]
    assert not [path for path in left if b"pass@" in path.read_bytes()]


def test_a_pushed_image_is_known_by_its_digest(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in ENGINES:
        install(record, monkeypatch, engine)
        options = ContainerOptions(name="host:5000/parrot:1", engine=engine, push=True)
        made = containerize(built.tag, options)
        assert (made.digest, made.reference) == (DIGEST, f"host:5000/parrot@{DIGEST}")
        assert (record / "pushed").read_text().splitlines()[-1] == "host:5000/parrot:1"
        shutil.rmtree(record / "work")
    assert ContainerImage("host:5000/parrot", "podman", None, DIGEST).reference == (
        f"host:5000/parrot@{DIGEST}"
    )


def test_a_registry_that_refuses_is_one_line(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch, pushed="echo 'Error: unauthorized' >&2; exit 125")
    with pytest.raises(BuildError) as error:
        containerize(built.tag, ContainerOptions(name="host/parrot:1", push=True))
    assert str(error.value) == "podman could not push host/parrot:1: Error: unauthorized"


def test_a_full_disk_is_said_before_the_engine_runs_and_after_it_failed(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch, end="echo 'write /x: no space left on device' >&2; exit 1")
    with pytest.raises(BuildError, match=r"could not build .*: the disk is full\. Free some space"):
        containerize(built.tag)
    usage = shutil.disk_usage(record)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    (record / "arguments").unlink()
    with pytest.raises(BuildError, match=r"needs .* where podman keeps images, 1000 B are free"):
        containerize(built.tag)
    assert not (record / "arguments").exists()


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "9" * 20])
def test_a_time_that_is_none_is_one_line(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    install(record, monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH must be seconds since 1970"):
        containerize(built.tag)


def test_the_image_is_called_as_the_bento_unless_told(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    assert containerize("parrot:latest").name == built.tag


def test_a_build_that_fails_is_one_line(
    built: BuildResult,
    record: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(
        record,
        monkeypatch,
        end="echo 'step one' >&2; echo 'Error: no such image: no/base:1' >&2; exit 125",
    )
    with pytest.raises(BuildError) as error:
        containerize(built.tag, ContainerOptions(base_image="no/base:1"))
    assert (
        str(error.value) == f"podman could not build {built.tag}: Error: no such image: no/base:1"
    )
    assert "Traceback" not in caplog.text


def test_what_pip_says_is_shown_rather_than_where_it_was_said(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        record,
        monkeypatch,
        end="echo 'ERROR: No matching distribution' >&2; echo 'Error: at STEP 7' >&2; exit 1",
    )
    with pytest.raises(BuildError, match=r": ERROR: No matching distribution$"):
        containerize(built.tag)


def test_no_such_bento_is_one_line(
    home: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    with pytest.raises(ServeError, match="There is no Bento"):
        containerize("nothing:1")
