"""What the Hub's cache holds against what the Hub has named it: a blob is called by its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".openllm-damaged"  # what a damaged blob is called until another has come
_BLOBS = "blobs"
_SHA256 = re.compile(r"[0-9a-f]{64}")  # of a file in LFS
_OID = re.compile(r"[0-9a-f]{40}")  # git's, of any other
_CHUNK = 2**20  # bytes


def damaged_blobs(snapshot: Path, digests: Mapping[str, str]) -> list[str]:
    """Names of files of a snapshot whose content is not what their blob is called by; `digests`
    are their SHA-256. Files that are no blobs of a cache are passed over. Errors: OSError.
    """
    return [name for name, blob in _blobs(snapshot, digests) if not _is(blob, digests[name])]


def named_otherwise(snapshot: Path, names: list[str]) -> bool:
    """Whether all of `names` have names of git's kind, which some mirrors make in their own way:
    then the content decides nothing.
    """
    return all(_OID.fullmatch((snapshot / name).resolve().name) for name in names)


@contextmanager
def set_aside(snapshot: Path, names: list[str]) -> Iterator[None]:
    """Within, files of a snapshot are out of the way, so that they are fetched again; at its end
    those that did not come are back. Errors: OSError.
    """
    blobs = {name: (snapshot / name).resolve() for name in names}
    try:
        for blob in set(blobs.values()):
            blob.rename(_aside(blob))
        yield
    finally:
        for name, blob in blobs.items():
            if not (snapshot / name).exists():
                _aside(blob).rename(blob)
        for blob in set(blobs.values()):
            _aside(blob).unlink(missing_ok=True)


def _aside(blob: Path) -> Path:
    return blob.with_name(blob.name + ASIDE)


def _blobs(snapshot: Path, names: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        real = (snapshot / name).resolve()
        if real.parent.name == _BLOBS:
            yield name, real


def _is(blob: Path, digest: str) -> bool:
    if _SHA256.fullmatch(blob.name):
        return blob.name == digest
    return _OID.fullmatch(blob.name) is None or blob.name == _oid(blob)


def _oid(path: Path) -> str:
    """What git calls a file of this content."""
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
