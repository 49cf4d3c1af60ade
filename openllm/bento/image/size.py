"""How large an image is, by part: its base, the locked packages, the Bento with its models, and the
rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

from openllm.bento.contents.description import REQUIREMENTS
from openllm.bento.image import trim
from openllm.bento.image.context import BentoParts
from openllm.bento.image.engine import ContainerEngine, image_size
from openllm.bento.lock.completion import installed
from openllm.bento.pack.files import size_on_disk

LARGEST = 5  # packages that are named
_PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)")


@attrs.frozen
class ContentSize:
    """Bytes of what an image holds beside its base, before there is one: the locked packages by
    name, and the Bento with its models.
    """

    packages: Mapping[str, int]
    bento: int

    @classmethod
    def of(cls, parts: BentoParts) -> Self:
        lines = (parts.path / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
        return cls(
            package_sizes(lines), size_on_disk(parts.path, *(path for _, path in parts.models))
        )


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


def measure_image(
    name: str, content: ContentSize, engine: ContainerEngine, base: str
) -> ImageSize | None:
    """The parts of the image `name` of this content; None when the engine does not say how large
    images are.
    """
    total, below = image_size(engine, name), image_size(engine, base)
    if total is None or below is None:
        return None
    return ImageSize(total, below, content.packages, content.bento)


def package_sizes(lines: list[str]) -> dict[str, int]:
    """Bytes of each locked package as it is installed here, compiled files included, folders of
    tests not, which `trim` removes from an image; 0 for one of another version.
    """
    pins = [match.groups() for line in lines if (match := _PIN.match(line))]
    return {name: _installed_size(name, version) for name, version in pins}


def _installed_size(name: str, version: str) -> int:
    found = installed(name)
    if found is None or found.version.partition("+")[0] != version.partition("+")[0]:
        return 0
    files = (file for file in found.files or () if trim.NAME not in file.parts[:-1])
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file())
