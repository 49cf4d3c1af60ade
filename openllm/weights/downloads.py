"""How far a download is, for whoever waits: one line on a terminal that is written anew, lines of
the log elsewhere.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from openllm.config.sizes import readable_size

logger = logging.getLogger(__name__)

ANEW_SECONDS = 0.2  # between two versions of a terminal's line
LINES_SECONDS = 10.0  # between two lines of a log
STEADY_SECONDS = 2.0  # before the rate says how long the rest will take
_ERASE = "\r\x1b[2K"


class Download:
    """The bytes of one repository, as they come from several threads."""

    def __init__(self, name: str, share: Callable[[int, int], None] | None = None) -> None:
        self._name = name
        self._share = share  # is told each time, too
        self._lock = threading.Lock()
        self._all = self._parts = 0  # bytes that are to come, and those that came in parts
        # a process that logs warnings alone shows no line either
        told = logging.getLogger("openllm").level <= logging.INFO
        self._terminal = told and sys.stderr.isatty()
        self._begun = self._said = time.monotonic()
        self._found: int | None = None  # bytes that were here before
        self._shown = False
        self.done = self.total = 0

    def begin(self, total: int) -> None:
        """`total` bytes are to come; counted anew when a download is tried again."""
        self._all, self._parts, self.done = total, 0, 0

    def add(self, size: int) -> None:
        """`size` more bytes of parts are here, of this attempt or, first, of an earlier one."""
        with self._lock:
            self._parts += size
            parts = self._parts
        self.count(0, 0, parts)

    def count(self, done: int, total: int, parts: int | None = None) -> None:
        """`done` of `total` bytes are here, as one of the client's bars has it: some count what the
        network brought, some what is on the disk. Those in `parts` come first.
        """
        done += self._parts if parts is None else parts
        total = max(total + self._parts, self._all)
        if self._found is None:
            self._found = done
        self.done, self.total = max(self.done, done), max(self.total, total)
        if self._share is not None:
            self._share(self.done, self.total)
        if time.monotonic() - self._said >= (ANEW_SECONDS if self._terminal else LINES_SECONDS):
            self.tell()

    def tell(self) -> None:
        """Say at once how far it is."""
        now = self._said = time.monotonic()
        self._say(self.line(now - self._begun))

    def line(self, seconds: float) -> str:
        """What is said after `seconds`."""
        line = f"Fetching {self._name}: {readable_size(self.done)} of {readable_size(self.total)}"
        rate = (self.done - (self._found or 0)) / seconds if seconds else 0.0
        if rate and seconds >= STEADY_SECONDS:
            rest = _duration((self.total - self.done) / rate)
            line += f", {readable_size(int(rate))}/s, {rest} left"
        return line

    def _say(self, line: str) -> None:
        if self._terminal:
            sys.stderr.write(_ERASE + line)
            sys.stderr.flush()
            self._shown = True
        else:
            logger.info("%s.", line)

    def end(self) -> None:
        """Take a terminal's line away."""
        if self._shown:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


@contextmanager
def downloading(
    name: str, share: Callable[[int, int], None] | None = None
) -> Iterator[tuple[Download, type[Any]]]:
    """The counter of a download, and what the Hub's client takes for its `tqdm_class` while it
    fetches `name`; `share` is told of bytes that are here and of all.
    """
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    download = Download(name, share)

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        """Counts, and shows nothing itself."""

        monitor_interval: ClassVar[int] = 0  # no thread that watches it

        def __init__(self, *args: Any, **options: Any) -> None:
            self._bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "disable": True})
            self.total = options.get("total") or 0
            self.n = options.get("initial") or 0

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._bytes:
                download.count(int(self.n), int(self.total or 0))

    try:
        yield download, Bar
    finally:
        download.end()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
