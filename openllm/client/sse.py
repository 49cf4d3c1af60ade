"""Server-sent events out of bytes that come in any pieces (HTML Standard, section 9.2.6)."""

from __future__ import annotations

import codecs


class EventReader:
    """Give it what comes; it gives the data of each event once that event is whole.

    What it finds does not depend on where the bytes are cut: within a character, within CRLF, or
    one by one. Names, ids and comments are passed over, and so is an event that the end cuts off.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._after_cr = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that `piece` completes, in order."""
        if self._after_cr and piece.startswith(b"\n"):  # the other half of a line break
            piece, self._after_cr = piece[1:], False
        if not piece:
            return []
        self._after_cr = piece.endswith(b"\r")
        first, *others = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first
        found: list[str] = []
        for other in others:
            if (event := self._end_line()) is not None:
                found.append(event)
            self._line = bytearray(other)
        return found

    def _end_line(self) -> str | None:
        line = bytes(self._line)
        if self._at_start:
            line, self._at_start = line.removeprefix(codecs.BOM_UTF8), False
        if not line:
            event = "\n".join(self._data) if self._data else None
            self._data = []
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
        return None
