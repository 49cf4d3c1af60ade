"""BentoML's model store as files, read without importing bentoml: find a tag, list what is
there.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from openllm.config.names import split_tag
from openllm.errors import WeightsError
from openllm.weights.checkpoint import directory_size

MODELS = "models"  # the store's directory below BentoML's home
_MODEL_FILE = "model.yaml"
_LATEST = "latest"


@attrs.frozen
class StoredModel:
    """One model, or adapter, in the store."""

    tag: str
    path: Path
    size: int  # bytes
    created: datetime | None
    metadata: dict[str, Any]


def find_tag(tag: str, home: Path) -> Path:
    """The directory of `name:version` in the store under `home`; the version "latest" is the one
    stored last.

    Errors: WeightsError when the store has no such tag.
    """
    name, version = split_tag(tag) or ("", "")
    versions = home / MODELS / name
    if version == _LATEST and (versions / _LATEST).is_file():
        version = (versions / _LATEST).read_text(encoding="utf-8").strip()
    path = versions / version
    if not name or not (path / _MODEL_FILE).is_file():
        raise WeightsError(
            f"The model store has no {tag}.", hint="`openllm models` lists what it has."
        )
    return path


def list_store(home: Path) -> list[StoredModel]:
    """Everything in the store under `home`, by name, newest first."""
    found = [_read(path.parent) for path in (home / MODELS).glob(f"*/*/{_MODEL_FILE}")]
    return sorted(
        found, key=lambda model: (model.tag.partition(":")[0], -_stamp(model.created), model.tag)
    )


def _read(path: Path) -> StoredModel:
    import yaml  # `openllm models` must start fast, and most stores it lists are empty

    try:
        info = yaml.safe_load((path / _MODEL_FILE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        info = None
    info = info if isinstance(info, dict) else {}
    return StoredModel(
        tag=f"{path.parent.name}:{path.name}",
        path=path,
        size=directory_size(path),
        created=_time(info.get("creation_time")),
        metadata=dict(info.get("metadata") or {}),
    )


def _time(value: object) -> datetime | None:
    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _stamp(created: datetime | None) -> float:
    return created.timestamp() if created else 0.0
