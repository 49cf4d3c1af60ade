"""Compressed bodies: a request's unpacked within its limit, a whole answer packed for who asks."""

from __future__ import annotations

import gzip
import re
import zlib

from openllm.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

SMALLEST = 1024  # bytes of an answer that is worth packing
LEVEL = 3  # of gzip: quick, and most of what there is to gain in JSON
_PIECE = 64 * 1024  # bytes that are unpacked in one call
_MOST_MEMBERS = 1000  # of a gzip file, each of which takes a window of its own
_GZIP = (b"gzip", b"x-gzip")
_TAKES = re.compile(rb"(?:^|[,\s])(?:x-)?gzip\s*(?:;\s*q=([0-9.]+))?\s*(?:,|$)")


def takes_gzip(accepted: bytes) -> bool:
    """Whether an Accept-Encoding header names gzip, and not with a weight of 0."""
    found = _TAKES.search(accepted.lower())
    return found is not None and (found[1] is None or found[1].strip(b"0.") != b"")


def packed(body: bytes) -> bytes:
    """`body` as gzip; the same bytes for the same body."""
    return gzip.compress(body, LEVEL, mtime=0)


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A request's body, whose Content-Encoding is `encoding`, unpacked to at most `limit` bytes.

    Errors: UnsupportedMediaType for another encoding than gzip, InvalidRequest for what is none,
    PayloadTooLarge.
    """
    if not body or encoding in (b"", b"identity"):
        return body
    if encoding not in _GZIP:
        raise UnsupportedMediaType(
            f"A body cannot be compressed as {encoding.decode('latin-1')[:32]!r}.",
            hint="Send it as gzip, or without Content-Encoding.",
        )
    found = bytearray()
    view, at = memoryview(body), 0
    for _ in range(_MOST_MEMBERS):
        at += _inflate(view[at:], found, limit)
        if at == len(view):
            return bytes(found)
    raise _broken(f"it has more than {_MOST_MEMBERS} parts")


def _inflate(packed: memoryview, found: bytearray, limit: int) -> int:
    """Add to `found` what the first member of a gzip file holds; returns how long that is."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    at = 0
    while not inflate.eof:
        piece = packed[at : at + _PIECE]
        if not piece:
            raise _broken("it ends too soon")
        try:
            found += inflate.decompress(piece, limit + 1 - len(found))
        except zlib.error as error:
            raise _broken(str(error)) from None
        if len(found) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        at += len(piece) - len(inflate.unused_data)
    return at


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body is not valid gzip: {why}.", hint="Or send it without Content-Encoding."
    )
