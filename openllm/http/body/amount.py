"""How much a JSON body holds, counted while it comes, before anything is made of it."""

from __future__ import annotations

LARGE_BODY = 32 * 1024  # bytes from which a body is counted, and read off the event loop
_PIECE = 64 * 1024  # bytes that are counted at once
# An array, an object or a key takes as long to decode as so many numbers.
_CONTAINER = 8
_KEY = 16


class Amount:
    """Counts the values of a JSON text that comes in parts; what stands in its strings is none.

    Its `total` is at least the number of values, where an array or object counts as 8 and a key as
    16, for so much longer they take to decode.
    """

    def __init__(self) -> None:
        self.total = 0
        self._inside = 0  # 1 where the next byte stands in a string
        self._escaped = False  # the next byte is what a backslash stands before

    def add(self, part: bytes) -> int:
        """Count what is in the next part, and say what there is by now."""
        for at in range(0, len(part), _PIECE):
            self._count(part[at : at + _PIECE])
        return self.total

    def _count(self, piece: bytes) -> None:
        if self._escaped:
            piece = piece[1:]
        piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        self._escaped = piece.endswith(b"\\")
        texts = piece.split(b'"')
        bare = b"".join(texts[self._inside :: 2])
        self._inside = (self._inside + len(texts) - 1) % 2
        self.total += bare.count(b",") + _KEY * bare.count(b":")
        self.total += _CONTAINER * (bare.count(b"[") + bare.count(b"{"))
