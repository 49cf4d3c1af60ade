"""Images that are really built and run: with podman and buildah, as root, where the base image has
been made (`make test-container` and `make test` make it).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.bento.image.dockerfile import ContainerOptions
from tests.bento.conftest import echo_model, free_port, home

__all__ = ["echo_model", "home"]
BASE = f"docker.io/library/{ContainerOptions().base_image}"
HINT = "run `make test-container` as root on Debian"
LIMITS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]\n'
ENGINE = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
CERTIFICATES = Path("/etc/ssl/certs")


def _obstacle() -> str | None:
    """Why no image can be built here; None: it can."""
    if missing := [name for name in ("podman", "buildah", "runc") if shutil.which(name) is None]:
        return (
            f"{missing[0]} is not installed: apt-get install buildah podman runc debootstrap, then"
            f" {HINT}"
        )
    if os.geteuid() != 0:
        return f"not root; {HINT}"
    if subprocess.run(["podman", "image", "exists", BASE], capture_output=True).returncode != 0:
        return f"there is no base image {BASE}; {HINT}"
    return None


@pytest.fixture(autouse=True)
def engines() -> None:
    if reason := _obstacle():
        pytest.skip(reason)


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that containers run with; builds, in this process, also see certificates and local
    wheels.
    """
    shared = [CERTIFICATES, *map(Path, os.environ.get("PIP_FIND_LINKS", "").split())]
    volumes = [f"{path}:{path}:ro" for path in shared if path.is_dir()]
    build, run = tmp_path / "build.conf", tmp_path / "run.conf"
    build.write_text(f"{LIMITS}volumes = {json.dumps(volumes)}\n{ENGINE}")
    run.write_text(LIMITS + ENGINE)
    monkeypatch.setenv("CONTAINERS_CONF", str(build))
    return run


@attrs.define
class Container:
    """A running container, and how to ask the engine about it."""

    name: str
    port: int
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def podman(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["podman", *args], capture_output=True, text=True, env=self.environ, timeout=120
        )

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.podman("exec", self.name, *command)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.podman("inspect", self.name).stdout)[0]["State"]
        return found

    def logs(self) -> str:
        done = self.podman("logs", self.name)
        return done.stdout + done.stderr


@pytest.fixture
def start(configuration: Path) -> Iterator[Any]:
    """`start(image, user="1:0", OPENLLM_X="1")`: a container with every restriction an operator may
    set; removed afterwards.
    """
    environ = {**os.environ, "CONTAINERS_CONF": str(configuration)}
    started: list[Container] = []

    def run(image: str, user: str | None = None, **variables: str) -> Container:
        container = Container(f"openllm-test-{free_port()}", free_port(), environ)
        settings = [
            part for name, value in variables.items() for part in ("--env", f"{name}={value}")
        ]
        limits = [
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--cap-drop",
            "all",
            "--security-opt",
            "no-new-privileges",
        ]
        where = ["--memory", "2g", "--publish", f"127.0.0.1:{container.port}:3000"]
        started.append(container)
        done = container.podman(
            *(
                "run",
                "--detach",
                "--pull",
                "never",
                "--name",
                container.name,
                *limits,
                *where,
                *settings,
                *(("--user", user) if user else ()),
                image,
            )
        )
        assert done.returncode == 0, done.stderr
        return container

    yield run
    for container in started:
        container.podman("rm", "--force", container.name)
