"""Container engines by their command lines: build an image, push it, say how large it is and where
images are kept.

One line tells what failed.
"""

from __future__ import annotations

import collections
import json
import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from openllm.bento.image.context import CONTEXT, ENGINE_TEMPORARY
from openllm.bento.image.dockerfile import PIP_SECRET
from openllm.config.settings import process_environment
from openllm.errors import BuildError

logger = logging.getLogger("openllm")

_KEPT = 200  # lines of what an engine says, of which an error is made
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_FULL = ("no space left on device", "disk quota exceeded")
# Variables of pip, and what its configuration calls them.
_PIP: Mapping[str, str] = {
    "PIP_INDEX_URL": "index-url",
    "PIP_EXTRA_INDEX_URL": "extra-index-url",
    "PIP_FIND_LINKS": "find-links",
    "PIP_TRUSTED_HOST": "trusted-host",
    "PIP_DEFAULT_TIMEOUT": "timeout",
}


@attrs.frozen
class ContainerEngine:
    """One engine: what its `build` takes beyond what all take, and how it says a few things."""

    name: str
    build: tuple[str, ...] = ()
    timestamp: str = "--timestamp={}"  # that of the image and of all files in its layers
    root: str = "{{.Store.GraphRoot}}"  # of `info`: where images are kept
    digest_file: bool = True  # whether `push` writes the digest into a file

    def build_command(self, work: Path, name: str, created: int, platform: str | None) -> list[str]:
        """The command that builds the image `name` of the context below `work`."""
        return [
            self.name,
            "build",
            *self.build,
            self.timestamp.format(created),
            *(("--platform", platform) if platform else ()),
            "--secret",
            f"id={PIP_SECRET},src={work / PIP_SECRET}",
            "--file",
            str(work / "Dockerfile"),
            "--tag",
            name,
            str(work / CONTEXT),
        ]


# Podman and Buildah leave a HEALTHCHECK out of their own format; Buildah keeps no layers unasked.
ENGINES: Mapping[str, ContainerEngine] = {
    engine.name: engine
    for engine in (
        ContainerEngine(
            "docker",
            timestamp="--build-arg=SOURCE_DATE_EPOCH={}",
            root="{{.DockerRootDir}}",
            digest_file=False,
        ),
        ContainerEngine("podman", ("--format", "docker", "--layers")),
        ContainerEngine("buildah", ("--format", "docker", "--layers")),
    )
}


def find_engine(wanted: str | None = None) -> ContainerEngine:
    """The container engine to use: `wanted`, or the first that is installed. Errors: BuildError."""
    if wanted is not None and wanted not in ENGINES:
        raise BuildError(
            f"There is no container engine {wanted[:40]!r} here.",
            hint=f"Take {', '.join(ENGINES)}.",
        )
    for name in (wanted,) if wanted else ENGINES:
        if shutil.which(name):
            return ENGINES[name]
    missing = f"{wanted} is not installed" if wanted else "No container engine is installed"
    raise BuildError(
        f"{missing}.", hint=f"Install one of {', '.join(ENGINES)}, such as: apt-get install podman"
    )


def build_image(
    engine: ContainerEngine, work: Path, name: str, created: int, platform: str | None = None
) -> None:
    """Build the context below `work` (`context.build_context`) as the image `name`, `created` being
    the time of its files. What the engine says is logged. Errors: BuildError; nothing is called
    `name` then that was not before.
    """
    secret = work / PIP_SECRET
    secret.touch(0o600)
    secret.write_text(pip_configuration(process_environment()), encoding="utf-8")
    command = engine.build_command(work, name, created, platform)
    # Buildah and Podman write whole layers to a temporary directory: on the store's disk, not /tmp.
    place = {"TMPDIR": str(work / ENGINE_TEMPORARY), "DOCKER_BUILDKIT": "1"}
    code, said = _run(command, {**process_environment(), **place})
    if code != 0:
        raise _failed(engine, f"build {name}", said)


def push_image(engine: ContainerEngine, name: str) -> str:
    """Send the image `name` to the registry in its name; its digest there (`sha256:...`). Errors:
    BuildError.
    """
    with tempfile.TemporaryDirectory(prefix="openllm-push-") as folder:
        written = Path(folder) / "digest"
        where = ("--digestfile", str(written)) if engine.digest_file else ()
        code, said = _run([engine.name, "push", *where, name], process_environment())
        if code != 0:
            raise _failed(engine, f"push {name}", said)
        text = written.read_text(encoding="utf-8") if written.is_file() else "\n".join(said)
    found = _DIGEST.findall(text)
    if not found:
        raise BuildError(f"{engine.name} pushed {name} and told no digest.")
    return str(found[-1])


def image_size(engine: ContainerEngine, name: str) -> int | None:
    """Bytes, as the engine says; None where it does not. Buildah has it for people only
    (`249 MB`).
    """
    if engine.name != "buildah":
        said = ask(engine.name, "image", "inspect", "--format", "{{.Size}}", name)
        return int(said) if said.isdigit() else None
    try:
        images = json.loads(ask(engine.name, "images", "--json", name) or "[]")
    except ValueError:
        return None
    said = images[0].get("size", "") if images else ""
    match = re.fullmatch(r"([0-9.]+) ?([KMGT]?B)", said.upper())
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


def image_id(engine: ContainerEngine, name: str) -> str | None:
    """The digest of the image's configuration (`sha256:...`), which names all of its layers; None
    where the engine does not tell.
    """
    what = "{{.FromImageID}}" if engine.name == "buildah" else "{{.Id}}"
    kind = ("inspect", "--type", "image") if engine.name == "buildah" else ("image", "inspect")
    said = ask(engine.name, *kind, "--format", what, name).removeprefix("sha256:")
    return f"sha256:{said}" if re.fullmatch(r"[0-9a-f]{64}", said) else None


def image_root(engine: ContainerEngine) -> Path | None:
    """The directory where the engine keeps images; None where it does not tell, or is another
    machine's.
    """
    said = ask(engine.name, "info", "--format", engine.root)
    return Path(said) if said.startswith("/") and Path(said).is_dir() else None


def ask(*command: str) -> str:
    """What a command prints; empty when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def pip_configuration(environ: Mapping[str, str]) -> str:
    """A pip.conf that says what the variables in `environ` say of where packages are."""
    lines = ["[global]"]
    for variable, option in _PIP.items():
        if values := environ.get(variable, "").split():
            lines.append(f"{option} =")
            lines += [f"    {value}" for value in values]
    return "\n".join([*lines, ""])


def _run(command: list[str], environ: Mapping[str, str]) -> tuple[int, list[str]]:
    """The exit code and the last lines of both streams; each line is logged as it comes."""
    said: collections.deque[str] = collections.deque(maxlen=_KEPT)
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if line.strip():
                said.append(line.strip())
                logger.info("%s", line.strip())
    return process.returncode, list(said)


def _failed(engine: ContainerEngine, what: str, said: Iterable[str]) -> BuildError:
    """One line: a full disk, else pip's first complaint, else the last line that was written."""
    lines = list(said)
    if any(sign in line.lower() for line in lines for sign in _FULL):
        return BuildError(
            f"{engine.name} could not {what}: the disk is full.",
            hint=f"Free some space where {engine.name} keeps images, and try again.",
        )
    complaints = [line for line in lines if line.startswith("ERROR: ")]
    reasons = (*complaints[:1], *lines[-1:], "it gave no reason")
    return BuildError(f"{engine.name} could not {what}: {reasons[0]}")
