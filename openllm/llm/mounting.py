"""What a request may have mounted while serving: adapters of the model store, and those below one
directory of the operator's.
"""

from __future__ import annotations

import re
from pathlib import Path

from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.errors import AdapterNotFound, Forbidden, InvalidRequest, WeightsError
from openllm.weights.adapters import CheckedAdapter, check_adapter
from openllm.weights.store import find_tag


def resolve_mountable(settings: Settings, source: str) -> Path:
    """The directory that a request to mount `source` may mean: a store tag, or a name below the
    adapter root.

    What lies outside, what is missing and what is a link out are told apart by nothing in the
    answer. Errors: InvalidRequest (an absolute path, "..", a URL), Forbidden (no root is set),
    AdapterNotFound.
    """
    missing = AdapterNotFound(
        f"There is no adapter {source!r} to mount.", hint="Check its name.", param="source"
    )
    if is_tag(source):
        try:
            return find_tag(source, settings.bentoml_home)
        except WeightsError as error:
            raise missing from error
    parts = source.split("/")
    plain = source.isprintable() and not re.search(r"[\\:~]", source) and len(source) <= 512
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(
            "An adapter is mounted by a model-store tag or by its name below the adapter root.",
            hint="Absolute paths, '..' and URLs are not taken.",
            param="source",
        )
    if settings.adapter_root is None:
        raise Forbidden(
            "This server mounts adapters from its model store only.",
            hint="Give a tag: name:version.",
        )
    top = settings.adapter_root.expanduser().resolve()
    directory = (top / source).resolve()
    inside = directory.is_relative_to(top) and directory.is_dir()
    if not inside or not all(file.resolve().is_relative_to(top) for file in directory.iterdir()):
        raise missing
    return directory


def check_mountable(
    settings: Settings, source: str, base: Path, max_rank: int | None = None
) -> CheckedAdapter:
    """`resolve_mountable` and `check_adapter` for a request: what is wrong is said without a path
    of this machine.

    Errors: those of `resolve_mountable`; InvalidRequest when the adapter cannot be mounted.
    """
    path = resolve_mountable(settings, source)
    try:
        return check_adapter(path, base, max_rank)
    except WeightsError as error:
        message = error.message.replace(str(path), source)
        raise InvalidRequest(message, hint=error.hint, param="source") from error
