"""How the name of a model or adapter is written: a path, a store tag or a Hub id, told from its
text alone.

What is on the disk decides in `openllm.weights.origin`.
"""

from __future__ import annotations

import re

_DRIVE = re.compile(r"[A-Za-z]:/")  # of Windows; with a backslash it is a path anyhow
_PART = r"[a-z0-9](?:[-._a-z0-9]{0,61}[a-z0-9])?"  # BentoML's rule for a tag's name and version
_TAG = re.compile(rf"({_PART}):({_PART})")
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")


def is_path(name: str) -> bool:
    """Whether `name` can be nothing but a local path: it begins like one (POSIX, home or a Windows
    drive), or has a backslash.
    """
    return name.startswith((".", "/", "~")) or "\\" in name or _DRIVE.match(name) is not None


def last_part(path: str) -> str:
    """The name of the file or directory at the end of a path, of POSIX or Windows."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def split_tag(name: str) -> tuple[str, str] | None:
    """Name and version of what is written `name:version`; None for anything else."""
    match = _TAG.fullmatch(name)
    return (match[1], match[2]) if match else None


def is_tag(name: str) -> bool:
    """Whether `name` is written `name:version`."""
    return split_tag(name) is not None


def is_hub_id(name: str) -> bool:
    """Whether `name` is written like a repository on the Hub: `name` or `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None and ".." not in name and "--" not in name
