"""How the name of a model or adapter is read: a directory, a store tag or a Hub id."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from openllm.errors import ConfigurationError
from openllm.weights.hub import is_hub_id
from openllm.weights.store import is_tag

DEMO = "demo"
_PATH = re.compile(r"[./~\\]|[A-Za-z]:[\\/]")  # how a path begins; the last is a Windows drive


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
            f"{source!r} is a URL.", hint="Name a Hub id (owner/name) or a directory."
        )
    if _PATH.match(source) or Path(source).is_dir():
        return Origin.DIRECTORY
    if is_tag(source):
        return Origin.STORE
    if is_hub_id(source):
        return Origin.HUB
    raise ConfigurationError(
        f"{source!r} is no directory here, no model-store tag and no Hub id.",
        hint="Write ./directory, name:version, owner/name, or a family's name (`openllm models`).",
    )
