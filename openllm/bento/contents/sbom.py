"""A Bento's bill of materials in CycloneDX 1.6 (cyclonedx.org/docs/1.6/json): packages, our wheel,
the models.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openllm
from openllm.bento.contents.licence import spdx
from openllm.bento.contents.manifest import ModelEntry
from openllm.bento.contents.version import SBOM
from openllm.weights.checkpoint import file_digest, join_digests

_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:==([^\s;]+))?")
_LONGEST_LICENCE = 80  # characters; old metadata holds whole texts


def write_sbom(
    bento: Path,
    tag: str,
    requirements: Iterable[str],
    models: Sequence[ModelEntry],
    inputs: str,
) -> None:
    """Write the bill beside bento.yaml; the same Bento gives the same bytes: no time, and a serial
    number of `inputs`, the digest of what it was made of, as `tag` has no version yet.
    """
    name, _, version = tag.partition(":")
    packages = [
        _package(line) for line in requirements if line and not line.startswith(("./", "#", "-"))
    ]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'bento:{name}:{inputs}')}",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {"type": "application", "name": "openllm", "version": openllm.__version__}
                ]
            },
            "component": {
                "type": "container",
                "bom-ref": f"bento:{tag}",
                "name": name,
                "version": version,
            },
        },
        "components": [*_wheels(bento), *packages, *(_model(model) for model in models)],
    }
    (bento / SBOM).write_text(
        json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _wheels(bento: Path) -> list[dict[str, Any]]:
    """The wheels that the Bento carries itself."""
    found = []
    for path in sorted((bento / "src").rglob("*.whl")):
        name, version = path.name.split("-")[:2]
        found.append(
            {
                "type": "library",
                "bom-ref": f"wheel:{path.name}",
                "name": name,
                "version": version,
                "licenses": _licences(_distribution_licence(name)),
                "hashes": [_sha256(file_digest(path))],
            }
        )
    return found


def _package(line: str) -> dict[str, Any]:
    """A component for one line of the lock; the version is left out where only a range is known."""
    match = _PIN.match(line)
    name, version = (match[1], match[2]) if match else (line, None)
    purl = f"pkg:pypi/{quote(name)}" + (f"@{quote(version)}" if version else "")
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "purl": purl}
    if version:
        component["version"] = version
    if hashes := re.findall(r"--hash=sha256:([0-9a-f]{64})", line):
        component["hashes"] = [_sha256(value) for value in hashes]
    if licence := _distribution_licence(name):
        component["licenses"] = _licences(licence)
    return component


def _model(model: ModelEntry) -> dict[str, Any]:
    """A component whose parts are the model's files."""
    name, _, version = model.tag.partition(":")
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{model.tag}",
        "name": model.source.get("hub_id", name),
        "version": model.source.get("commit", version),
        "properties": [
            {"name": f"openllm:{key}", "value": value}
            for key, value in (("kind", model.kind), ("tag", model.tag))
        ],
    }
    if model.licence:
        component["licenses"] = _licences(model.licence)
    if model.files:
        component["hashes"] = [_sha256(join_digests(model.files))]
        component["components"] = [
            {
                "type": "file",
                "bom-ref": f"model:{model.tag}/{inner}",
                "name": inner,
                "hashes": [_sha256(digest)],
            }
            for inner, digest in model.files.items()
        ]
    return component


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _licences(name: str | None) -> list[dict[str, Any]]:
    if not name:
        return []
    known = spdx(name)
    if known is None and re.search(r" (AND|OR|WITH) ", name):
        return [{"expression": name}]
    return [{"license": {"id": known} if known else {"name": name}}]


def _distribution_licence(name: str) -> str | None:
    """What an installed distribution says of its licence: the expression, else a classifier, else
    the short text.
    """
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if "License-Expression" in metadata:
        return str(metadata["License-Expression"])
    for classifier in metadata.get_all("Classifier") or ():
        if str(classifier).startswith("License :: ") and str(classifier).count("::") > 1:
            return str(classifier).rpartition(":: ")[2]
    text = str(metadata["License"]).strip() if "License" in metadata else ""
    return text if 0 < len(text) <= _LONGEST_LICENCE and "\n" not in text else None
