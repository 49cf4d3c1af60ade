"""Compressed bodies: a request's unpacked within its limit, a whole answer packed for who asks."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

import attrs

from openllm.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

SMALLEST = 1024  # bytes of an answer that is worth packing
# Of gzip, and of zstd: quick, and most of what there is to gain in JSON.
LEVEL = 3
# Of a body in zstd, the most that a receiver must keep of it (RFC 9659): 8 MiB.
_WINDOW_LOG = 23
_PIECE = 64 * 1024  # bytes that are unpacked in one call
_MOST_FRAMES = 1000  # of one body, each of which takes a window of its own
_GZIP, _ZSTD = "gzip", "zstd"
# Python's own, and the same for versions that have none.
_ZSTD_MODULES = ("compression.zstd", "backports.zstd")
_NAMES: Mapping[str, str] = {"x-gzip": _GZIP}  # of the same
_ENTRY = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q=\s*([0-9.]+)\s*)?(?:,|$)")


class _Unpacker(Protocol):
    """One frame of a packed body, as the standard library has it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...


@attrs.frozen
class Coding:
    """One way to pack a body."""

    pack: Callable[[bytes], bytes]
    unpacker: Callable[[], _Unpacker]
    error: type[Exception]  # that an unpacker raises


@cache
def codings() -> Mapping[str, Coding]:
    """What there is here, by the names of HTTP, the best first. zstd is left out where the package
    for it is missing, as in an environment that was made without dependencies.
    """
    found = {_GZIP: Coding(_pack_gzip, _unpack_gzip, zlib.error)}
    zstd = _zstd()
    return found if zstd is None else {_ZSTD: zstd, **found}


def _pack_gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def _unpack_gzip() -> _Unpacker:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def _zstd() -> Coding | None:
    for name in _ZSTD_MODULES:
        with contextlib.suppress(ImportError):
            return _coding_of(importlib.import_module(name))
    return None


def _coding_of(zstd: Any) -> Coding:
    """As a module with the interface of Python's `compression.zstd` has it."""
    limits = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return Coding(
        lambda body: bytes(zstd.compress(body, LEVEL)),
        lambda: zstd.ZstdDecompressor(options=limits),
        zstd.ZstdError,
    )


def chosen(accepted: bytes) -> str | None:
    """The coding that an Accept-Encoding header wants most of those that there are, the better one
    where it does not mind; None: it takes none of them.
    """
    weights: dict[str, float] = {}
    for name, weight in _ENTRY.findall(accepted.decode("latin-1").lower()):
        weights[_NAMES.get(name, name)] = _weight(weight)
    best = max(codings(), key=lambda name: weights.get(name, 0.0))
    return best if weights.get(best, 0.0) > 0 else None


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0


def packed(body: bytes, coding: str) -> bytes:
    """`body` as one of `codings`; the same bytes for the same body."""
    return codings()[coding].pack(body)


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A request's body, whose Content-Encoding is `encoding`, unpacked to at most `limit` bytes.

    Errors: UnsupportedMediaType for an encoding that is none of `codings`, InvalidRequest for what
    is none, PayloadTooLarge.
    """
    name = encoding.decode("latin-1")
    if not body or name in ("", "identity"):
        return body
    coding = codings().get(_NAMES.get(name, name))
    if coding is None:
        raise UnsupportedMediaType(
            f"A body cannot be compressed as {name[:32]!r}.",
            hint=f"Send it as {' or '.join(codings())}, or without Content-Encoding.",
        )
    found = bytearray()
    view, at = memoryview(body), 0
    for _ in range(_MOST_FRAMES):
        at += _unpack_frame(view[at:], coding, name, found, limit)
        if at == len(view):
            return bytes(found)
    raise _broken(name, f"it has more than {_MOST_FRAMES} parts")


def _unpack_frame(view: memoryview, coding: Coding, name: str, found: bytearray, limit: int) -> int:
    """Add to `found` what the first part of a body holds; returns how long that is."""
    frame = coding.unpacker()
    at = 0
    while not frame.eof:
        piece = view[at : at + _PIECE]
        if not piece:
            raise _broken(name, "it ends too soon")
        try:
            found += frame.decompress(piece, limit + 1 - len(found))
        except coding.error as error:
            raise _broken(name, str(error)) from None
        if len(found) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        at += len(piece) - len(frame.unused_data)
    return at


def _broken(coding: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The body is not valid {coding}: {why}.", hint="Or send it without Content-Encoding."
    )
