"""How far a download is, for whoever waits: one line on a terminal that is written anew, lines of
the log elsewhere.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
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

    def __init__(self, name: str) -> None:
        self._name = name
        self._terminal = sys.stderr.isatty()
        self._begun = self._said = time.monotonic()
        self._found: int | None = None  # bytes that were here before
        self._shown = False
        self.done = self.total = 0

    def count(self, done: int, total: int) -> None:
        """`done` of `total` bytes are here, as one of the client's bars has it: some count what the
        network brought, some what is on the disk.
        """
        if self._found is None:
            self._found = done
        self.done, self.total = max(self.done, done), max(self.total, total)
        now = time.monotonic()
        if now - self._said >= (ANEW_SECONDS if self._terminal else LINES_SECONDS):
            self._said = now
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
def downloading(name: str) -> Iterator[type[Any]]:
    """What the Hub's client takes for its `tqdm_class` while it fetches `name`."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    download = Download(name)

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
        yield Bar
    finally:
        download.end()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
