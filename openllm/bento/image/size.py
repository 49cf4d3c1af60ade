"""How large an image is, by part: its base, the locked packages, the Bento with its models, and the
rest.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
import bentoml

from openllm.bento.contents.description import REQUIREMENTS
from openllm.bento.lock.requirements import installed
from openllm.bento.pack.files import size_on_disk
from openllm.bento.pack.store import find_bento

HUB = "huggingface"  # BentoML's word for models that a Bento does not carry
LARGEST = 5  # packages that are named
_PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_INSPECT = ("image", "inspect", "--format", "{{.Size}}")


@attrs.frozen
class ImageSize:
    """Bytes. `packages` is measured where they were locked, so that an image with other builds of
    them shows it.
    """

    total: int
    base: int
    packages: Mapping[str, int]
    bento: int

    @property
    def environment(self) -> int:
        """All locked packages together."""
        return sum(self.packages.values())

    @property
    def rest(self) -> int:
        """What is none of the parts: a virtual environment's own files, compiled standard library,
        system packages.
        """
        return self.total - self.base - self.environment - self.bento

    @property
    def ratio(self) -> float:
        """The image beside its base and its locked packages alone."""
        return self.total / (self.base + self.environment)

    def rows(self) -> list[tuple[str, int]]:
        """The parts by name, the largest packages after their sum."""
        largest = sorted(self.packages.items(), key=lambda item: -item[1])[:LARGEST]
        named = [(f"  {name}", size) for name, size in largest]
        own = [
            ("base", self.base),
            ("packages", self.environment),
            *named,
            ("Bento", self.bento),
            ("rest", self.rest),
        ]
        return [*own, ("total", self.total)]


def measure_image(name: str, tag: str, engine: str, base: str) -> ImageSize | None:
    """The parts of the image `name` of the Bento `tag`; None when the engine does not say how large
    images are.
    """
    total, below = _image_size(engine, name), _image_size(engine, base)
    if total is None or below is None:
        return None
    full, path = find_bento(tag)
    carried = [model for model in bentoml.bentos.get(full).info.all_models if model.registry != HUB]
    models = (Path(bentoml.models.get(model.tag).path) for model in carried)
    lines = (path / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    return ImageSize(total, below, package_sizes(lines), size_on_disk(path, *models))


def package_sizes(lines: list[str]) -> dict[str, int]:
    """Bytes of each locked package as it is installed here, compiled files included; 0 for one of
    another version.
    """
    pins = [match.groups() for line in lines if (match := _PIN.match(line))]
    return {name: _installed_size(name, version) for name, version in pins}


def _installed_size(name: str, version: str) -> int:
    found = installed(name)
    if found is None or found.version.partition("+")[0] != version.partition("+")[0]:
        return 0
    paths = (Path(str(file.locate())) for file in found.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def _image_size(engine: str, name: str) -> int | None:
    """What the engine says; buildah has it for people only (`249 MB`)."""
    if engine != "buildah":
        said = _ask(engine, *_INSPECT, name)
        return int(said) if said.isdigit() else None
    try:
        images = json.loads(_ask(engine, "images", "--json", name) or "[]")
    except ValueError:
        return None
    said = images[0].get("size", "") if images else ""
    match = re.fullmatch(r"([0-9.]+) ?([KMGT]?B)", said.upper())
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
