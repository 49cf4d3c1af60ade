"""How much a JSON body holds, counted while it comes, before anything is made of it."""

from __future__ import annotations

LARGE_BODY = 32 * 1024  # bytes from which a body is counted, and read off the event loop
_PIECE = 64 * 1024  # bytes that are counted at once
# What takes as long to decode as so many small numbers.
_CONTAINER = 8
_KEY = 16
_FRACTION = 8
_LONG = 2048  # each `_RUN` digits of one number: to decode them takes the square of their number
_RUN = 64
_SHORT = 4  # bytes of a number, or of a word, that count as one more
_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else 0 for byte in range(256))
_BETWEEN = b" \t\r\n,:[]{}"


class Amount:
    """Counts the values of a JSON text that comes in parts; what stands in its strings is none.

    Its `total` is at least the number of values and of escapes in strings. An array or object
    counts as 8, a key as 16, a number with a fraction or an exponent as 8 more, and so do true and
    false; every 4 bytes of a number count as one more, and 64 digits in a row as 2,048. So two
    texts of one total take about as long to decode.
    """

    def __init__(self) -> None:
        self._counted = 0
        self._literal = 0  # bytes of numbers and words
        self._inside = 0  # 1 where the next byte stands in a string
        self._escaped = False  # the next byte is what a backslash stands before
        self._run = b""  # digits at the end, as zeros, that may go on

    @property
    def total(self) -> int:
        return self._counted + self._literal // _SHORT

    def add(self, part: bytes | bytearray) -> int:
        """Count what is in the next part, and say what there is by now."""
        for at in range(0, len(part), _PIECE):
            self._count(bytes(part[at : at + _PIECE]))
        return self.total

    def _count(self, piece: bytes) -> None:
        self._counted += piece.count(b"\\")
        if self._escaped:
            piece = piece[1:]
        piece = piece.replace(rb"\\", b"").replace(rb"\"", b"")
        self._escaped = piece.endswith(b"\\")
        texts = piece.split(b'"')
        bare = b"".join(texts[self._inside :: 2])
        self._inside = (self._inside + len(texts) - 1) % 2
        self._counted += bare.count(b",") + _KEY * bare.count(b":")
        self._counted += _CONTAINER * (bare.count(b"[") + bare.count(b"{"))
        self._count_literals(bare)

    def _count_literals(self, bare: bytes) -> None:
        literals = bare.translate(None, _BETWEEN)
        self._literal += len(literals)
        self._counted += _FRACTION * sum(map(literals.count, (b".", b"e", b"E")))
        digits = self._run + bare.translate(_DIGITS)
        self._counted += _LONG * digits.count(b"0" * _RUN)
        open_run = len(digits) - len(digits.rstrip(b"0"))
        self._run = b"0" * (open_run % _RUN)
