"""BentoML's model store as files, read without importing bentoml: find a tag, list what is
there.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from openllm.config.names import split_tag
from openllm.config.settings import Settings
from openllm.errors import WeightsError
from openllm.weights.checkpoint import directory_size

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


def find_tag(tag: str, home: Path | None = None) -> Path:
    """The directory of `name:version` in the store under `home`; the version "latest" is the one
    stored last.

    `home` is $BENTOML_HOME when None. Errors: WeightsError when the store has no such tag.
    """
    name, version = split_tag(tag) or ("", "")
    versions = _models(home) / name
    if version == _LATEST and (versions / _LATEST).is_file():
        version = (versions / _LATEST).read_text(encoding="utf-8").strip()
    path = versions / version
    if not name or not (path / _MODEL_FILE).is_file():
        raise WeightsError(
            f"The model store has no {tag}.", hint="`openllm models` lists what it has."
        )
    return path


def list_store(home: Path | None = None) -> list[StoredModel]:
    """Everything in the store under `home` ($BENTOML_HOME when None), by name, newest first."""
    found = [_read(path.parent) for path in _models(home).glob(f"*/*/{_MODEL_FILE}")]
    return sorted(
        found, key=lambda model: (model.tag.partition(":")[0], -_stamp(model.created), model.tag)
    )


def _models(home: Path | None) -> Path:
    return (home or Settings.from_env().bentoml_home) / "models"


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
