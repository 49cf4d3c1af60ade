"""The Dockerfile of a Bento: layers by how often they change, code that the service cannot change,
a health check, checked fields.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

import openllm
from openllm.bento.lock.image import PYTHON_VERSION
from openllm.bento.pack.render import render_text
from openllm.bento.serving.project import KEEP_ALIVE_SECONDS
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.facts import facts_of

TEMPLATE = "Dockerfile.jinja"
USER = 1034  # the user id of every image that BentoML makes
BENTO = "/home/bentoml/bento"
PIP_SECRET = "pip"  # noqa: S105  the name of the build's secret that holds pip's configuration
# Where lines of one's own may go: before packages are installed, and before the code comes.
PARTS = ("build", "runtime")
_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"(?:{_HOST})?{_PATH}(?:/{_PATH})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?")
_DIGEST = r"@sha256:[0-9a-f]{64}"
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~-]+)?")
_LONGEST = 255  # characters of an image's name
# Where an instruction ends must be as clear to us as to every engine.
_BLANKS = " \t\r"
_UNCLEAR = re.compile(r"(?<!<)<<-?[^\s<]+|\\\\\Z")
# What a part may do; the others would undo what the image promises.
_INSTRUCTIONS = ("RUN", "ENV", "COPY", "ARG", "LABEL", "ADD", "SHELL")


@attrs.frozen
class ContainerOptions:
    """How the image of a Bento is made. `name` defaults to the Bento's tag, `engine` to the first
    that is installed.
    """

    name: str | None = None
    engine: str | None = None
    base_image: str = f"python:{PYTHON_VERSION}-slim"
    system_packages: tuple[str, ...] = ()
    platform: str | None = None  # of the image; by default the engine's own
    push: bool = False  # send the image to the registry that its name says
    attest: Path | None = None  # the directory for the image's provenance and its bill of materials
    parts: Mapping[str, str] = attrs.field(factory=dict)  # block -> lines of a Dockerfile

    def __attrs_post_init__(self) -> None:
        if self.name is not None:
            check_image(self.name, "an image's name")
        check_reference(self.base_image, "a base image")
        if self.platform is not None and not _PLATFORM.fullmatch(self.platform):
            raise BuildError(
                f"{self.platform[:80]!r} cannot be a platform.", hint="Write it like linux/arm64."
            )
        for package in self.system_packages:
            if not _PACKAGE.fullmatch(package):
                raise BuildError(
                    f"{package[:80]!r} cannot be a system package.", hint="Write its Debian name."
                )
        for block, text in self.parts.items():
            _check_part(block, text)


@attrs.frozen
class Contents:
    """What an image is made of: the Bento's tag, its specs, the models' directories in the order of
    their layers, and when it was made (seconds since 1970).
    """

    tag: str
    specs: tuple[LLMSpec, ...]
    models: tuple[str, ...] = ()
    created: int = 0


def render_dockerfile(contents: Contents, options: ContainerOptions) -> str:
    """The text of the Dockerfile for a context that `context.build_context` makes."""
    engines = [facts_of(spec.backend) for spec in contents.specs if spec.backend]
    packages = {package for facts in engines for package in facts.system_packages}
    return render_text(
        TEMPLATE,
        {
            "tag": contents.tag,
            "base_image": options.base_image,
            "packages": sorted({*options.system_packages, *packages}),
            "parts": {block: options.parts.get(block, "").strip() for block in PARTS},
            "gpu": any(facts.wants_gpu for facts in engines),
            "user": USER,
            "bento": BENTO,
            "secret": PIP_SECRET,
            "models": contents.models,
            "labels": _labels(contents, options),
            "keep_alive": KEEP_ALIVE_SECONDS,
        },
    )


def _labels(contents: Contents, options: ContainerOptions) -> dict[str, str]:
    """By the names of opencontainers.org's annotations, and two of our own."""
    name, _, version = contents.tag.partition(":")
    base, _, digest = options.base_image.partition("@")
    created = datetime.datetime.fromtimestamp(contents.created, datetime.UTC)
    found = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.base.digest": digest,
        "dev.openllm.bento": contents.tag,
        "dev.openllm.version": openllm.__version__,
    }
    return {key: value for key, value in found.items() if value}


def read_part(text: str) -> tuple[str, str]:
    """`BLOCK=FILE` as the block and the file's text. Errors: BuildError."""
    block, equals, name = text.partition("=")
    if not equals or not name:
        raise BuildError(
            f"{text[:80]!r} is no part of a Dockerfile.", hint=f"Write {PARTS[1]}=FILE."
        )
    try:
        return block, Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}."
        ) from None


def check_image(name: str, what: str) -> str:
    """`name` if an image may be called so. Errors: BuildError."""
    if len(name) > _LONGEST or not _IMAGE.fullmatch(name):
        raise BuildError(
            f"{name[:80]!r} cannot be {what}.", hint="Write NAME:TAG, such as my/llama:1."
        )
    return name


def check_reference(name: str, what: str = "an image's name") -> str:
    """`name` if an image may be called so, also by its digest. Errors: BuildError."""
    check_image(re.sub(rf"{_DIGEST}\Z", "", name), what)
    return name


def _check_part(block: str, text: str) -> None:
    """Refuse a block that the template does not have, and lines that change what the image
    promises.
    """
    if block not in PARTS:
        raise BuildError(
            f"The Dockerfile has no part {block[:80]!r}.", hint=f"It has {' and '.join(PARTS)}."
        )
    continued = False
    for line in text.strip().split("\n"):
        bare = line.strip(_BLANKS)
        if not bare or bare.startswith("#"):
            continue  # stands for nothing, also in the middle of an instruction
        word = (bare.split() or [""])[0].upper()
        if not continued and word not in _INSTRUCTIONS:
            hint = f"It may use {', '.join(_INSTRUCTIONS)}."
            raise BuildError(
                f"The {block} part of the Dockerfile begins a line with {word[:40]!r}.", hint=hint
            )
        if unclear := _UNCLEAR.search(bare):
            raise BuildError(
                f"The {block} part of the Dockerfile has {unclear[0]!r} in a line, which engines"
                " read differently.",
                hint="Write it otherwise: heredocs are not taken, nor two \\ at a line's end.",
            )
        continued = bare.endswith("\\")
    if continued:
        raise BuildError(
            f"The {block} part of the Dockerfile ends in the middle of a line.",
            hint="Drop the last \\.",
        )
