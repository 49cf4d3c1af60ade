"""Where an image comes from, as SLSA provenance (slsa.dev/spec/v1.0/provenance) in a statement of
in-toto, beside the Bento's bill of materials.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

import openllm
from openllm.bento.contents.description import REQUIREMENTS
from openllm.bento.contents.manifest import MANIFEST, Manifest
from openllm.bento.contents.signature import STATEMENT
from openllm.bento.contents.version import SBOM
from openllm.bento.image.context import BentoParts
from openllm.bento.image.dockerfile import ContainerOptions
from openllm.bento.image.engine import ContainerEngine, image_id
from openllm.errors import BuildError
from openllm.weights.checkpoint import file_digest, join_digests

PROVENANCE = "provenance.json"
BUILD_TYPE = "https://openllm.dev/build/image/v1"
BUILDER = "https://openllm.dev/builder"


@attrs.frozen
class ImageFacts:
    """What is told of an image: how it is called, its digest in a registry (None: not pushed), what
    it was made of and when (seconds since 1970).
    """

    reference: str
    digest: str | None
    parts: BentoParts
    options: ContainerOptions
    created: int
    dockerfile: str


def write_attestations(facts: ImageFacts, engine: ContainerEngine) -> tuple[Path, ...]:
    """Write PROVENANCE and SBOM into `facts.options.attest`, which is made; their paths. Errors:
    BuildError.
    """
    folder = facts.options.attest or Path()
    paths = (folder / PROVENANCE, folder / SBOM)
    text = json.dumps(provenance(facts, engine), indent=1, sort_keys=True, ensure_ascii=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(text + "\n", encoding="utf-8")
        shutil.copyfile(facts.parts.path / SBOM, paths[1])
    except OSError as error:
        raise BuildError(
            f"{folder} cannot be written: {error.strerror}.", hint="Name another directory."
        ) from None
    return paths


def provenance(facts: ImageFacts, engine: ContainerEngine) -> dict[str, Any]:
    """The statement. Its subject is the image by its digest in the registry, or by that of its
    configuration where it was not pushed. Errors: BuildError when the engine tells neither.
    """
    digest = facts.digest or image_id(engine, facts.options.name or facts.parts.tag)
    if digest is None:
        raise BuildError(f"{engine.name} tells no digest of {facts.reference}.")
    options = facts.options
    made = datetime.datetime.fromtimestamp(facts.created, datetime.UTC)
    parameters = {
        "bento": facts.parts.tag,
        "baseImage": options.base_image,
        "systemPackages": list(options.system_packages),
        "platform": options.platform,
        "dockerfile": facts.dockerfile,
    }
    return {
        "_type": STATEMENT,
        "subject": [
            {
                "name": facts.reference.partition("@")[0],
                "digest": {"sha256": digest[len("sha256:") :]},
            }
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {key: value for key, value in parameters.items() if value},
                "internalParameters": {"engine": engine.name},
                "resolvedDependencies": list(_dependencies(facts, engine)),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"openllm": openllm.__version__}},
                "metadata": {"finishedOn": made.strftime("%Y-%m-%dT%H:%M:%SZ")},
            },
        },
    }


def _dependencies(facts: ImageFacts, engine: ContainerEngine) -> Iterator[dict[str, Any]]:
    """The base image, the Bento by its manifest, its lock, and each model by its digest."""
    bento = facts.parts.path
    base = {"uri": f"docker://{facts.options.base_image}"}
    known = image_id(engine, facts.options.base_image)
    yield {**base, "digest": {"sha256": known[len("sha256:") :]}} if known else base
    for name in (MANIFEST, REQUIREMENTS):
        yield {
            "name": name,
            "uri": f"bento:{facts.parts.tag}/{name}",
            "digest": {"sha256": file_digest(bento / name)},
        }
    for model in Manifest.read(bento).models:
        source = model.source
        if source.get("hub_id") and source.get("commit"):
            uri = f"pkg:huggingface/{quote(source['hub_id'])}@{source['commit']}"
        else:
            uri = f"model:{model.tag}"
        entry: dict[str, Any] = {"name": model.tag, "uri": uri}
        if model.files:
            entry["digest"] = {"sha256": join_digests(model.files)}
        elif source.get("commit"):
            entry["digest"] = {"gitCommit": source["commit"]}
        yield entry
