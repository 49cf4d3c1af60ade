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
_HUB_SCHEME = "hf://"
# A model's page on the Hub, as it stands in a browser's line.
_HUB_PAGE = re.compile(r"https://(?:huggingface\.co|hf\.co)/([^/]+/[^/]+?)/?(?:/tree/(.+?)/?)?")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,127}")


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


def is_alias(name: str) -> bool:
    """Whether `name` may be an alias: a tag's name without a version."""
    return re.fullmatch(_PART, name) is not None


def split_hub_name(name: str) -> tuple[str, str | None] | None:
    """Repository and revision of what can be nothing but a model on the Hub: `hf://owner/name`,
    `owner/name@revision`, or the address of its page there; None for anything else, a plain
    `owner/name` too.
    """
    if page := _HUB_PAGE.fullmatch(name):
        repo, revision = page[1], page[2]
    else:
        repo, mark, revision = name.removeprefix(_HUB_SCHEME).partition("@")
        if not (mark or name.startswith(_HUB_SCHEME)) or (mark and not revision):
            return None
    known = is_hub_id(repo) and (not revision or _REVISION.fullmatch(revision) is not None)
    return (repo, revision or None) if known else None
