"""Compressed bodies: a request's unpacked within its limit, a whole answer packed for who asks."""

from __future__ import annotations

import gzip
import re
import zlib

from openllm.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

SMALLEST = 1024  # bytes of an answer that is worth packing
LEVEL = 3  # of gzip: quick, and most of what there is to gain in JSON
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
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _GZIP:
        raise UnsupportedMediaType(
            f"A body cannot be compressed as {encoding.decode('latin-1')[:32]!r}.",
            hint="Send it as gzip, or without Content-Encoding.",
        )
    found = bytearray()
    while body:
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            found += inflate.decompress(body, limit + 1 - len(found))
        except zlib.error as error:
            raise _broken(str(error)) from None
        if len(found) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        if not inflate.eof:
            raise _broken("it ends too soon")
        body = inflate.unused_data
    return bytes(found)


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body is not valid gzip: {why}.", hint="Or send it without Content-Encoding."
    )
