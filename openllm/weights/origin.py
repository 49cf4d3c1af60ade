"""How the name of a model or adapter is read: a directory, a store tag or a Hub id."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from openllm.config.names import is_hub_id, is_path, is_tag
from openllm.errors import ConfigurationError

DEMO = "demo"


class Origin(Enum):
    """Where the files behind a name come from."""

    DEMO = "demo"
    DIRECTORY = "directory"
    STORE = "store"
    HUB = "hub"


def origin(source: str) -> Origin:
    """How `source` is read. An existing directory wins over a Hub id of the same name. Errors:
    ConfigurationError.
    """
    if source == DEMO:
        return Origin.DEMO
    if "://" in source:
        raise ConfigurationError(
            f"{source!r} is a URL that names no model.",
            hint="Write owner/name, name:version or ./directory.",
        )
    if is_path(source) or named_directory(source) is not None:
        return Origin.DIRECTORY
    if is_tag(source):
        return Origin.STORE
    if is_hub_id(source):
        return Origin.HUB
    raise ConfigurationError(
        f"{source!r} is no directory here, no model-store tag and no Hub id.",
        hint="Write ./directory, name:version, owner/name, or a family's name (`openllm models`).",
    )


def named_directory(source: str) -> Path | None:
    """The existing directory that `source` names; None where it names something else, or one that
    is not there.
    """
    directory = expand(source)
    return directory if source != DEMO and directory.is_dir() else None


def expand(source: str) -> Path:
    """The path that `source` writes, with `~` expanded where there is such a user."""
    try:
        return Path(source).expanduser()
    except RuntimeError:
        return Path(source)
