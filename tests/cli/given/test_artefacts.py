"""`build --containerize`: wrong fields and a missing engine are found before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bento.conftest import echo_model, home
from tests.bento.image.engines import DIGEST, install
from tests.cli.conftest import Run

__all__ = ["echo_model", "home"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("-t", "x:1"), 2, "--image-tag goes with --containerize."),
        (("--containerize", "-t", "$(x)"), 1, "'$(x)' cannot be an image's name."),
        (("--containerize", "--base-image", "a;b"), 1, "'a;b' cannot be a base image."),
        (
            ("--containerize", "--system-packages", "curl,{{ 7 }}"),
            1,
            "'{{ 7 }}' cannot be a system package.",
        ),
        (
            ("--containerize", "--dockerfile-part", "top=/dev/null"),
            1,
            "The Dockerfile has no part 'top'.",
        ),
        (("--platform", "linux/arm64"), 2, "--platform goes with --containerize."),
        (("--attest", "out"), 2, "--attest goes with --containerize."),
        (
            ("--containerize", "--platform", "arm64; x"),
            1,
            "'arm64; x' cannot be a platform. Write it like linux/arm64.",
        ),
        (
            ("--containerize", "--push"),
            2,
            "--push needs the name of the image in a registry. Add -t REGISTRY/NAME:TAG.",
        ),
        (("--containerize", "--engine", "lxc"), 1, "There is no container engine 'lxc' here."),
        (
            ("--containerize",),
            1,
            "No container engine is installed. Install one of docker, podman, buildah",
        ),
    ],
)
def test_it_is_one_line_and_nothing_is_built(
    run: Run, tmp_path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    result = run("build", "demo", *args, PATH=str(tmp_path))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list((tmp_path / "bentoml").rglob("bento.yaml"))


def test_manifests_are_written_without_an_engine(
    run: Run, home: Path, echo_model: Path, tmp_path: Path
) -> None:
    args = ["build", str(echo_model), "--backend", "echo", "--k8s", str(tmp_path / "out")]
    result = run(*args, "-t", "my/parrot:1")
    assert (result.exit_code, result.stdout.splitlines()[0].split()[0]) == (0, "Built")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "autoscaler.yaml",
        "deployment.yaml",
        "disruption-budget.yaml",
        "network-policy.yaml",
        "service.yaml",
    ]
    assert "image: my/parrot:1" in (tmp_path / "out/deployment.yaml").read_text()
    assert run(*args, "-t", "a;b").stderr.startswith("Error: 'a;b' cannot be an image's name.")


def test_an_image_that_is_pushed_is_told_and_deployed_by_its_digest(
    run: Run, home: Path, echo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORD", str(tmp_path))
    install(tmp_path, monkeypatch)
    args = ["build", str(echo_model), "--backend", "echo", "-t", "host/parrot:1", "--push"]
    args += ["--containerize", "--engine", "podman", "--k8s", str(tmp_path / "out")]
    result = run(*args, PATH=f"{tmp_path.parent / 'bin'}:/usr/bin:/bin")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"Pushed host/parrot@{DIGEST}"
    assert f"image: host/parrot@{DIGEST}" in (tmp_path / "out/deployment.yaml").read_text()


@pytest.mark.parametrize(
    "value", ["a\nRUN reboot", "$(touch x)", "{{ 7 * 7 }}", "a;b", "`x`", "a\0", "a'b"]
)
@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--name={}", "a model's name"),
        ("--bento-name={}", "a Bento's name"),
        ("--label=key={}", "a label"),
        ("--label={}=value", "a label's name"),
        ("--adapter-id=./adapter:{}", "an adapter's name"),
        ("--dtype={}", "a dtype"),
        ("--device={}", "a device"),
    ],
)
def test_a_field_that_means_something_to_a_shell_or_a_template_is_refused(
    run: Run, home: Path, echo_model: Path, option: str, what: str, value: str
) -> None:
    result = run("build", str(echo_model), "--backend", "echo", option.format(value))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = [
        line for line in result.stderr.splitlines() if not line.startswith("Building a Bento for ")
    ]
    assert line.startswith(f"Error: {value!r} cannot be {what}.")
    assert not list(home.rglob("bento.yaml"))
    assert not list((home / "models").iterdir())
