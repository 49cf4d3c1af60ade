"""The version of a Bento: a digest of all that is in it, so that whoever names a tag names its
content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import attrs

from openllm.bento.contents.manifest import ModelEntry
from openllm.weights.listing import Listing
from openllm.weights.store import BENTO_FILE

SBOM = "sbom.cdx.json"
LENGTH = 16  # hexadecimal digits
UNKNOWN = "0" * LENGTH  # stands for the version while a Bento is made
NAMING = (BENTO_FILE, SBOM)  # the files that name the version themselves
# Lines that say when and by what something was written: the same content has others elsewhere.
_WRITTEN = re.compile(
    rb"^( *creation_time: )'?[0-9T:.+ -]+'?$|^(  (?:bentoml|python)_version: )[\w.+-]+$",
    re.MULTILINE,
)
_VERSION = re.compile(rb"^version: '?([a-z0-9]+)'?$", re.MULTILINE)
_TIME = re.compile(rb"^( *creation_time: )'?[0-9T:.+ -]+'?$", re.MULTILINE)


def content_version(bento: Path, listing: Listing, models: Sequence[ModelEntry]) -> str:
    """The version that this content has; the files are as `listing` says. Errors: OSError."""
    named = _named(bento)
    files = {**listing.files, **{name: _digest(bento / name, named) for name in NAMING}}
    parts = {
        "files": files,
        "modes": listing.modes,
        "links": listing.links,
        "models": [_described(model) for model in models],
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def name_version(bento: Path, version: str) -> None:
    """Write `version` where a Bento that is being made has `UNKNOWN`. Errors: OSError."""
    for name in NAMING:
        path = bento / name
        path.write_bytes(path.read_bytes().replace(UNKNOWN.encode(), version.encode()))


def model_file_digest(path: Path) -> str:
    """SHA-256 (hexadecimal) of a model.yaml without when and by what it was written. Errors:
    OSError.
    """
    return hashlib.sha256(_WRITTEN.sub(rb"\1\2", path.read_bytes())).hexdigest()


def _digest(path: Path, named: bytes) -> str:
    """That of a file that names the version as `named`, and may say when it was written."""
    data = _TIME.sub(rb"\1", path.read_bytes())
    return hashlib.sha256(data.replace(named, UNKNOWN.encode())).hexdigest()


def _named(bento: Path) -> bytes:
    """The version that bento.yaml names; of one that names none nothing is replaced."""
    found = _VERSION.search((bento / BENTO_FILE).read_bytes())
    return found[1] if found else UNKNOWN.encode()


def _described(model: ModelEntry) -> dict[str, object]:
    """All that is said of a model but modes, which are its source's where files are linked."""
    said = attrs.asdict(model)
    said["listing"].pop("modes")
    if not said["config"]:  # as in Bentos that were built before it was said
        said.pop("config")
    return said
