"""Under which licence a model stands: what its card says, else what its family knows of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from openllm import models

CARD = "README.md"
TEXTS = ("LICENSE*", "LICENCE*", "NOTICE*")
# The Hub writes licences in lower case; SPDX ids are these.
_IDS = (
    "Apache-2.0 MIT BSD-2-Clause BSD-3-Clause ISC GPL-3.0-only LGPL-3.0-only AGPL-3.0-only MPL-2.0"
    " CC-BY-4.0 CC-BY-SA-4.0 CC-BY-NC-4.0 CC0-1.0 Unlicense PSF-2.0 0BSD"
)
_SPDX: Mapping[str, str] = {name.lower(): name for name in _IDS.split()}
_LONGEST_CARD = 1_000_000  # characters read of a card
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)


def model_licence(
    directory: Path, model_id: str | None = None, family: str | None = None
) -> str | None:
    """The licence's name, SPDX where it has one; None when neither the card nor the registry
    says.
    """
    front = _front_matter(directory / CARD)
    said = front.get("license_name") or front.get("license")
    if isinstance(said, str) and said.strip().lower() not in ("", "other", "unknown"):
        return spdx(said.strip()) or said.strip()
    if model_id is None or family is None or family not in models.names():
        return None
    known = models.get(family)
    if model_id != known.default_id and model_id not in known.models:
        return None
    name = known.license_of(model_id)
    return spdx(name) or name or None


def spdx(name: str) -> str | None:
    """The SPDX id for a licence as people write it; None for one that has none here."""
    return _SPDX.get(name.lower().replace(" ", "-"))


def licence_texts(directory: Path) -> list[Path]:
    """The files of a model directory that hold its terms, sorted."""
    return sorted({path for pattern in TEXTS for path in directory.glob(pattern) if path.is_file()})


def _front_matter(path: Path) -> Mapping[str, object]:
    try:
        match = _FRONT.match(path.read_text(encoding="utf-8")[:_LONGEST_CARD])
        data = yaml.safe_load(match[1]) if match else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}
