"""A Bento of the store looked at from outside: what is in it, how large its parts are, and whether
it is unchanged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from openllm.bento.contents.description import LICENCES, REQUIREMENTS
from openllm.bento.contents.manifest import Manifest, ModelEntry, bento_files, compare
from openllm.bento.contents.sbom import SBOM
from openllm.bento.pack.document import bento_document, read_document, read_resources
from openllm.bento.pack.store import find_bento
from openllm.errors import BuildError


@attrs.frozen
class Inspection:
    """Plain data throughout; sizes in bytes."""

    tag: str
    path: Path
    openllm: str
    specs: tuple[dict[str, Any], ...]
    resources: dict[str, Any]
    models: tuple[ModelEntry, ...]
    packages: tuple[str, ...]  # lines of the lock
    sizes: dict[str, int]  # by part
    licences: tuple[str, ...]  # files with the models' terms, below the Bento
    sbom: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return {**attrs.asdict(self), "path": str(self.path)}


@attrs.frozen
class Verification:
    """`problems` is empty for a Bento that is as it was built; `checked` counts files, the models'
    included.
    """

    tag: str
    checked: int
    problems: tuple[str, ...]


def inspect_bento(tag: str) -> Inspection:
    """Read what `openllm build` wrote. Errors: ServeError for no such Bento, BuildError for one not
    built so.
    """
    full, path = find_bento(tag)
    manifest = Manifest.read(path)
    document = bento_document(full)
    try:
        sbom = json.loads((path / SBOM).read_bytes())
        packages = (path / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BuildError(
            f"{full} is damaged: {type(error).__name__}.", hint=f"Run: openllm verify {full}"
        ) from None
    own = {name: (path / name).stat().st_size for name in bento_files(path)}
    wheel = sum(size for name, size in own.items() if name.endswith(".whl"))
    models = {model.tag: model.size for model in manifest.models if model.inside}
    return Inspection(
        tag=full,
        path=path,
        openllm=manifest.openllm,
        specs=tuple(read_document(document)),
        resources=read_resources(document).to_dict(),
        models=manifest.models,
        packages=tuple(line for line in packages if line and not line.startswith("#")),
        sizes={"service": sum(own.values()) - wheel, "openllm wheel": wheel, **models},
        licences=tuple(name for name in manifest.files if name.startswith(f"{LICENCES}/")),
        sbom=sbom,
    )


def verify_bento(tag: str) -> Verification:
    """Hash every file of a Bento and of the models it carries. Errors: ServeError, BuildError as
    `inspect_bento`.
    """
    full, path = find_bento(tag)
    manifest = Manifest.read(path)
    inside = [model for model in manifest.models if model.inside]
    checked = len(manifest.files) + sum(len(model.files) for model in inside)
    return Verification(full, checked, tuple(compare(path, manifest)))
