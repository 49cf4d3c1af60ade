"""How the container engine is called, and what becomes of its failures. No engine is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.build import BuildResult
from openllm.bento.image.container import ENGINES, containerize, find_engine
from openllm.bento.image.dockerfile import ContainerOptions, render_dockerfile
from openllm.errors import BuildError, ServeError
from tests.bento.image.engines import install


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
    assert find_engine("buildah") == "buildah"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_builds_our_dockerfile_with_the_models(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    install(record, monkeypatch, engine)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://user:pass@index.example/simple")
    made = containerize(built.tag, ContainerOptions(name="my/parrot:1", engine=engine))
    assert (made.name, made.engine) == ("my/parrot:1", engine)
    arguments = (record / "arguments").read_text().splitlines()
    assert arguments[0] == "build"
    assert arguments[arguments.index("--tag") + 1] == "my/parrot:1"
    assert arguments[arguments.index("--build-arg") + 1] == "PIP_EXTRA_INDEX_URL"
    assert ("--format" in arguments) == (engine != "docker")
    assert "pass" not in (record / "arguments").read_text()
    context = Path((record / "context").read_text().strip())
    assert arguments[-1] == str(context)
    assert not context.exists()  # nothing is left behind
    expected = render_dockerfile(built.tag, list(built.specs), ContainerOptions())
    assert (record / "Dockerfile").read_text() == expected
    assert (record / "models").read_text().split() == ["parrot"]


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
    """BentoML 1.4.40 logs a failed build and returns as if it had worked: `None` is all that
    tells.
    """
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
