"""Digests of everything a Bento consists of, its models included, and the check of a Bento against
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs

import openllm
from openllm.bento.pack.store import find_model
from openllm.errors import BuildError
from openllm.weights.checkpoint import file_digest, file_digests

MANIFEST = "manifest.json"
# What serving leaves beside the sources, and what names the whole: neither is part of a Bento's
# content.
_NOT_LISTED = (MANIFEST,)
_CACHES = "__pycache__"


@attrs.frozen
class ModelEntry:
    """One model or adapter: its tag in the store, or Hub id and commit where it is fetched at
    start.
    """

    tag: str
    kind: str  # "weights", "draft" or "adapter"
    files: Mapping[str, str]  # name -> SHA-256, hexadecimal; empty where only the commit is known
    size: int  # bytes; 0 where it is not known
    licence: str | None = None
    source: Mapping[str, str] = attrs.field(factory=dict)  # hub_id, commit
    inside: bool = True  # False: by reference


@attrs.frozen
class Manifest:
    """`files` are those of the Bento itself, by their names below it."""

    files: Mapping[str, str]
    models: tuple[ModelEntry, ...]
    openllm: str = openllm.__version__

    @classmethod
    def of(cls, bento: Path, models: Sequence[ModelEntry]) -> Self:
        """Read every file of a finished Bento."""
        return cls({name: file_digest(bento / name) for name in bento_files(bento)}, tuple(models))

    def write(self, bento: Path) -> None:
        (bento / MANIFEST).write_text(
            json.dumps(attrs.asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, bento: Path) -> Self:
        """Errors: BuildError when there is none, or it is not one."""
        try:
            data: dict[str, Any] = json.loads((bento / MANIFEST).read_bytes())
            models = tuple(ModelEntry(**entry) for entry in data.pop("models"))
            return cls(models=models, **data)
        except FileNotFoundError:
            raise BuildError(
                f"{bento.parent.name}:{bento.name} has no {MANIFEST}.",
                hint="Only `openllm build` writes one.",
            ) from None
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            raise BuildError(
                f"{MANIFEST} of {bento.parent.name}:{bento.name} is damaged.",
                hint="Build it again.",
            ) from None


def bento_files(bento: Path) -> list[str]:
    """Names of a Bento's own files, sorted: without the manifest, and without what Python caches
    beside sources.
    """
    found = (
        path.relative_to(bento) for path in bento.rglob("*") if path.is_file() or path.is_symlink()
    )
    return sorted(
        inner.as_posix()
        for inner in found
        if inner.name not in _NOT_LISTED and _CACHES not in inner.parts
    )


def compare(bento: Path, manifest: Manifest) -> Iterator[str]:
    """One sentence per thing that is not as the manifest says: files changed, missing or added;
    models missing.
    """
    paths = {name: bento / name for name in bento_files(bento)}
    # A link that points nowhere has no digest, and so is not as it was.
    found = {name: file_digest(path) if path.exists() else "" for name, path in paths.items()}
    yield from _differences(manifest.files, found, "")
    for model in manifest.models:
        if not model.inside:
            continue
        directory = find_model(model.tag)
        if directory is None:
            yield f"{model.tag} is not in the model store."
        else:
            yield from _differences(model.files, file_digests(directory), f"{model.tag}/")


def _differences(wanted: Mapping[str, str], found: Mapping[str, str], prefix: str) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        if name not in found:
            yield f"{prefix}{name} is missing."
        elif name not in wanted:
            yield f"{prefix}{name} was added."
        elif wanted[name] != found[name]:
            yield f"{prefix}{name} was changed."
