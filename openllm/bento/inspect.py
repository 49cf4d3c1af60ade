"""A Bento of the store looked at from outside: what is in it, how large its parts are, and whether
it is unchanged.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import attrs

from openllm.bento.contents.check import Verification, check_bento
from openllm.bento.contents.description import LICENCES, REQUIREMENTS
from openllm.bento.contents.manifest import Manifest, ModelEntry
from openllm.bento.contents.signature import check_signature
from openllm.bento.contents.version import SBOM
from openllm.bento.pack.document import bento_document, read_document, read_resources
from openllm.bento.pack.resources import Resources
from openllm.bento.pack.store import find_bento, find_model, in_bento_store
from openllm.config.names import is_tag
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.llm.replica import PlannedEngine, PlannedReplica
from openllm.weights.outline import Outline, outline_of_size

logger = logging.getLogger(__name__)


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
    own = {name: (path / name).stat().st_size for name in manifest.files if (path / name).is_file()}
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


def bento_replica(found: Inspection) -> PlannedReplica:
    """What one replica of a Bento runs: its specs with the outlines of their models, as they lie in
    the store, or as the Bento says of what is fetched at start. Errors: ConfigurationError.
    """
    entries = {
        model.tag if model.inside else model.source.get("hub_id", ""): model
        for model in found.models
    }
    resources = Resources.read(found.resources)
    specs = [LLMSpec.from_dict(spec) for spec in found.specs]
    engines = [
        PlannedEngine(
            spec,
            _outline(entries.get(spec.model_id)),
            model.size if (model := entries.get(spec.speculative_model or "")) else 0,
        )
        for spec in specs
    ]
    return PlannedReplica.of(engines, resources.gpu, resources.gpu_type)


def _outline(model: ModelEntry | None) -> Outline | None:
    """None where neither the weights nor their size are known here."""
    if model is None:
        return None
    path = find_model(model.tag) if model.inside else None
    if path is None:
        return Outline(model.config, {}, model.size) if model.size else None
    return outline_of_size(path, model.size)


def verify_bento(target: str, key: Path | None = None) -> Verification:
    """Read every path of a Bento and of the models it carries, and compare it with its manifest;
    `target` is a tag, or the directory of a Bento as it lies in an image. With `key`, a public one,
    its owner must have signed it. Errors: ServeError, BuildError as `inspect_bento`.
    """
    place = Path(target).expanduser()
    full = None
    if is_tag(target) or not place.is_dir():
        full, place = find_bento(target)
    if key is not None:
        check_signature(place.resolve(), key)
    return check_bento(place.resolve(), find_model, full, stored=in_bento_store(place))


def require_intact(path: Path, key: Path | None = None) -> None:
    """Refuse a Bento that is not as it was built, or not signed by the owner of `key`. Errors:
    BuildError.
    """
    logger.info("Checking %s ...", path.name)
    found = verify_bento(str(path), key)
    if found.problems:
        more = f" {len(found.problems) - 1} more." if len(found.problems) > 1 else ""
        raise BuildError(
            f"{found.tag} is not as it was built: {found.problems[0]}{more}",
            hint=f"All of it: openllm verify {path}.",
        )
