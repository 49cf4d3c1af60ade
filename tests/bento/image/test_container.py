"""The image: the Dockerfile that is rendered, how the engine is called, and what is refused. No
engine is needed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.image.container import ENGINES, containerize, find_engine
from openllm.bento.image.dockerfile import ContainerOptions, read_part, render_dockerfile
from openllm.bento.image.size import LARGEST, package_sizes
from openllm.bento.lock.requirements import lock_requirements
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ServeError

EVIL = ["a\nRUN reboot", "$(touch x)", "{{ 7 * 7 }}", "a;b", "a b", "-v", "", "`x`", "a\0"]
ECHO = [LLMSpec(model_id="parrot:1", backend="echo")]
BASE, IMAGE = 50_000_000, 400_000_000  # bytes, as the engine below says
ENGINE = f"""#!/bin/sh
case "$1 $2 $5" in
"image inspect python:"*) echo {BASE}; exit ;;
"image inspect "*) echo {IMAGE}; exit ;;
"images --json ") case "$3" in python:*) size="50 MB" ;; *) size="0.4 GB" ;; esac
    echo "[{{\\"size\\": \\"$size\\"}}]"; exit ;;
esac
printf '%s\\n' "$@" > "$RECORD/arguments"
pwd > "$RECORD/context"
cp env/docker/Dockerfile "$RECORD/Dockerfile"
ls models > "$RECORD/models"
END
"""


def steps(text: str, instruction: str) -> list[str]:
    """The arguments of every `instruction`, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()[1:]) for line in lines if line.split()[:1] == [instruction]]


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo"))


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine on PATH that writes down how it was called, and where it does."""
    place = tmp_path / "record"
    place.mkdir()
    monkeypatch.setenv("RECORD", str(place))
    return place


def install(
    record: Path, monkeypatch: pytest.MonkeyPatch, name: str = "podman", end: str = ""
) -> None:
    folder = record.parent / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(ENGINE.replace("END", end))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_packages_are_installed_in_a_stage_of_their_own() -> None:
    text = render_dockerfile("parrot:1", ECHO, ContainerOptions())
    _, build_stage, final = text.split("\nFROM ")
    assert final.startswith("python:3.")
    assert "-m pip install --no-deps -r requirements.txt" in build_stage
    assert "openllm.bento.lock.completion" in build_stage
    assert "pip install" not in final
    assert "apt-get" not in text
    assert steps(final, "COPY")[0] == "--from=build /app/.venv /app/.venv"


def test_the_service_cannot_change_its_code() -> None:
    text = render_dockerfile("parrot:1", ECHO, ContainerOptions())
    assert steps(text, "COPY")[-1] == "--chown=0:0 . /home/bentoml/bento"
    assert steps(text, "USER") == ["1034:1034"]
    assert "chown -R" not in text


def test_it_is_watched_and_stopped_as_it_should_be() -> None:
    text = render_dockerfile("parrot:1", ECHO, ContainerOptions())
    (check,) = steps(text, "HEALTHCHECK")
    assert "/readyz" in check
    assert steps(text, "STOPSIGNAL") == ["SIGTERM"]
    (entry,) = steps(text, "ENTRYPOINT")
    assert entry.startswith('["')  # no shell stands between the engine and the service
    (command,) = steps(text, "EXPOSE")
    assert command == "3000"


def test_vllm_gets_a_compiler_and_the_driver_and_no_cuda_base() -> None:
    text = render_dockerfile("big:1", [LLMSpec(model_id="a/b", backend="vllm")], ContainerOptions())
    assert "gcc libc6-dev" in text
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in text
    assert all(base.startswith("python:") for base in steps(text, "FROM"))
    assert "NVIDIA" not in render_dockerfile("parrot:1", ECHO, ContainerOptions())


def test_base_packages_and_parts_go_where_they_belong() -> None:
    options = ContainerOptions(
        base_image="registry.local:5000/python/slim:3.11",
        system_packages=("curl", "libgomp1=12.2.0-14"),
        parts={
            "build": "RUN echo building",
            "runtime": "# ours\nENV A=1 \\\n  B=2\nRUN echo running",
        },
    )
    _, build_stage, final = render_dockerfile("parrot:1", ECHO, options).split("\nFROM ")
    assert final.startswith("registry.local:5000/python/slim:3.11\n")
    assert "curl libgomp1=12.2.0-14" in final
    assert "RUN echo building" in build_stage
    assert final.index("RUN echo running") < final.index("USER 1034")


def test_a_base_image_may_be_named_by_digest() -> None:
    name = f"python:3.11-slim@sha256:{'0' * 64}"
    assert f"FROM {name} AS build" in render_dockerfile(
        "parrot:1", ECHO, ContainerOptions(base_image=name)
    )


@pytest.mark.parametrize("value", EVIL)
@pytest.mark.parametrize("field", ["name", "base_image", "system_packages"])
def test_a_field_that_is_none_is_refused_in_one_line(field: str, value: str) -> None:
    with pytest.raises(BuildError, match="cannot be") as error:
        # on purpose
        ContainerOptions(**{field: (value,) if field == "system_packages" else value})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("block", "text", "said"),
    [
        ("entrypoint", "RUN x", "has no part 'entrypoint'. It has build and runtime."),
        ("runtime", "USER root", "begins a line with 'USER'"),
        ("runtime", "RUN a\nFROM scratch", "begins a line with 'FROM'"),
        ("build", "{{ 7 * 7 }}", "begins a line with '{{'"),
        ("build", "RUN a \\", "ends in the middle of a line"),
    ],
)
def test_a_part_that_cannot_be_is_refused_in_one_line(block: str, text: str, said: str) -> None:
    with pytest.raises(BuildError) as error:
        ContainerOptions(parts={block: text})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_part_is_text_and_no_template() -> None:
    text = render_dockerfile(
        "parrot:1", ECHO, ContainerOptions(parts={"build": "RUN echo '{{ 7 * 7 }}'"})
    )
    assert "{{ 7 * 7 }}" in text


@pytest.mark.parametrize("text", ["runtime", "runtime=", "runtime=./none"])
def test_a_part_that_is_no_file_is_one_line(text: str) -> None:
    with pytest.raises(BuildError, match=r"is no part|cannot be read"):
        read_part(text)


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


@pytest.mark.parametrize("engine", ENGINES)
def test_the_size_is_told_by_part(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    install(record, monkeypatch, engine)
    size = containerize(built.tag, ContainerOptions(engine=engine)).size
    assert size is not None
    assert (size.base, size.total, size.bento) == (BASE, IMAGE, built.size)
    assert set(size.packages) == {
        pin.partition("==")[0] for pin in lock_requirements(["echo"]).pins
    }
    assert min(size.packages.values()) > 0
    assert size.ratio == IMAGE / (BASE + sum(size.packages.values()))
    rows = dict(size.rows())
    assert list(rows)[:2] == ["base", "packages"]
    assert next(name for name in rows if name.startswith("  ")) == "  transformers"
    assert len(rows) == 5 + LARGEST
    assert rows["base"] + rows["packages"] + rows["Bento"] + rows["rest"] == rows["total"] == IMAGE


def test_an_engine_that_does_not_tell_sizes_is_no_failure(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    program = record.parent / "bin/podman"
    program.write_text(program.read_text().replace("echo 50000000", "echo unknown"))
    assert containerize(built.tag).size is None


def test_a_package_of_another_version_has_no_size() -> None:
    assert package_sizes(
        ["attrs==0.1", "no-such-package==1", "./wheels/x.whl", "# left out: a -> b"]
    ) == {
        "attrs": 0,
        "no-such-package": 0,
    }


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
    """BentoML 1.4.39 logs a failed build and returns as if it had worked: `None` is all that
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
