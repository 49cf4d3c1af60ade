"""Large files in parts: several at a time, each once, and what is here outlives the process.

A file's bytes lie in `NAME.openllm-data` from the start, as large as it will be; beside it
`NAME.openllm-parts` has a byte for each block of it, written after the block. So whoever comes next
fetches what is missing, whenever the one before was killed, and the SHA-256 of the whole decides.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from openllm.errors import WeightsError
from openllm.weights.checkpoint import file_digest

LEAST = 4 * 2**20  # bytes from which a file comes in parts
DATA, PARTS = ".openllm-data", ".openllm-parts"
CONNECTIONS = 8
_SMALLEST, _LARGEST = 2 * 2**20, 32 * 2**20  # bytes of a part
_SHARE = 256  # parts of a file, where that gives neither smaller nor larger ones
_BLOCK = 256 * 1024  # bytes that one mark stands for; parts are whole blocks
_HERE = 1  # a block's mark
_TRIES = 5  # of a part that brings nothing
_POLL = 0.1  # seconds between two looks at the threads: Ctrl+C is heard in between


Span = tuple[int, int]  # the first and the last byte


class NoRanges(Exception):
    """The server does not send parts of files."""


@attrs.frozen
class Source:
    """Where the bytes of one file come from, and what they must be."""

    url: str
    size: int
    sha256: str
    target: Path  # where the whole file goes


@attrs.frozen
class Transfer:
    """How parts are fetched: who reads the bytes FIRST to LAST of a source, which errors a second
    try may mend (seconds to wait, or None where it cannot), and who counts the bytes that came.
    """

    read: Callable[[Source, int, int], Generator[bytes]]
    broken: tuple[type[Exception], ...]
    patience: Callable[[Exception, int], float | None]
    count: Callable[[int], None]


@attrs.define
class _File:
    """One file on its way."""

    source: Source
    descriptor: int = attrs.field(init=False)
    marks: int = attrs.field(init=False)
    missing: list[Span] = attrs.field(init=False)  # at most one in each part
    left: int = attrs.field(init=False)  # of those, what nobody has finished

    def __attrs_post_init__(self) -> None:
        source = self.source
        count = -(-source.size // _BLOCK)
        self.descriptor = os.open(_beside(source, DATA), os.O_RDWR | os.O_CREAT, 0o644)
        self.marks = os.open(_beside(source, PARTS), os.O_RDWR | os.O_CREAT, 0o644)
        known = os.pread(self.marks, count + 1, 0)
        if len(known) != count or os.fstat(self.descriptor).st_size != source.size:
            known = bytes(count)
            os.ftruncate(self.descriptor, source.size)
            os.ftruncate(self.marks, 0)
            os.pwrite(self.marks, known, 0)
        self.missing = list(_missing(known, source.size))
        self.left = len(self.missing)

    @property
    def here(self) -> int:
        """Bytes that are here already."""
        return self.source.size - sum(last - first + 1 for first, last in self.missing)

    def keep(self, chunk: bytes, at: int) -> None:
        """Write bytes from `at` on, then the marks of the blocks that they complete: within a part
        bytes come in order, from the beginning of a block.
        """
        end, rest = at + len(chunk), memoryview(chunk)
        while rest:  # a disk that is nearly full takes less than it is given
            rest = rest[os.pwrite(self.descriptor, rest, end - len(rest)) :]
        blocks = -(-end // _BLOCK) if end == self.source.size else end // _BLOCK
        os.pwrite(self.marks, bytes([_HERE]) * (blocks - at // _BLOCK), at // _BLOCK)

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self.marks)


def _missing(known: bytes, size: int) -> Iterator[Span]:
    """What is missing of each part, from its first block without a mark."""
    part = part_bytes(size) // _BLOCK
    for begin in range(0, len(known), part):
        marks = known[begin : begin + part]
        here = len(marks) - len(marks.lstrip(bytes([_HERE])))
        if here < len(marks):
            yield (begin + here) * _BLOCK, min((begin + part) * _BLOCK, size) - 1


def part_bytes(size: int) -> int:
    """How large the parts of a file of `size` bytes are: whole MiB."""
    wanted = -(-size // (_SHARE * 2**20)) * 2**20
    return min(max(wanted, _SMALLEST), _LARGEST)


def fetch_files(sources: Sequence[Source], transfer: Transfer) -> None:
    """Bring all of `sources` to their targets, several parts at a time.

    What is interrupted goes on from there the next time. Errors: NoRanges where the server sends
    whole files only, WeightsError for content of another digest, OSError, and `transfer.broken`
    that patience did not mend.
    """
    for source in sources:
        source.target.parent.mkdir(parents=True, exist_ok=True)
    _Work([_File(source) for source in sources], transfer).run()


class _Work:
    """Threads that take one part after the other until none is left, or one of them fails."""

    def __init__(self, files: list[_File], transfer: Transfer) -> None:
        self._files = files
        self._transfer = transfer
        self._queue = iter([(file, span) for file in files for span in file.missing])
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._began = threading.Event()  # the first bytes came
        self._failed: list[Exception] = []

    def run(self) -> None:
        for file in self._files:
            self._transfer.count(file.here)
            if not file.left:  # killed between the last part and the end
                _finish(file)
        # daemons: after Ctrl+C nobody waits for a server that says nothing
        threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(CONNECTIONS)]
        threads[0].start()  # alone, until it is known that ranges are sent
        try:
            while threads[0].is_alive() and not self._began.wait(_POLL):
                pass
            for thread in threads[1:]:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_POLL)
        finally:
            self._stopped.set()
        for file in self._files:
            file.close()
        if self._failed:
            raise self._failed[0]

    def _loop(self) -> None:
        try:
            while (taken := self._take()) is not None:
                file, span = taken
                if not self._fetch(file, span):
                    return
                with self._lock:
                    file.left -= 1
                    last = not file.left
                if last:
                    _finish(file)
        except Exception as error:  # noqa: BLE001  handed to whoever waits in `run`
            self._failed.append(error)
            self._stopped.set()

    def _take(self) -> tuple[_File, Span] | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self._queue, None)

    def _fetch(self, file: _File, span: Span) -> bool:
        """One part, tried again from where it broke off; whether it is whole. Errors: `broken` of
        the transfer, NoRanges for a server that sends nothing.
        """
        first, last = span
        tries = 0
        while first <= last and not self._stopped.is_set():
            begun, pause = first, 0.0
            try:
                with closing(self._transfer.read(file.source, first, last)) as chunks:
                    for chunk in chunks:
                        file.keep(chunk, first)
                        first += len(chunk)
                        self._transfer.count(len(chunk))
                        self._began.set()
            except self._transfer.broken as error:
                said = self._transfer.patience(error, tries)
                if said is None or tries + 1 >= _TRIES:
                    raise
                pause = said
            tries = tries + 1 if first == begun else 0
            if tries >= _TRIES:
                raise NoRanges
            self._stopped.wait(pause)
        return first > last


def _finish(file: _File) -> None:
    """Check the whole file and put it where it belongs. Errors: WeightsError."""
    source = file.source
    data = _beside(source, DATA)
    if file_digest(data) != source.sha256:
        _forget(source)
        raise WeightsError(
            f"What came of {source.target.name[:12]} has not the SHA-256 that the server names.",
            hint="Run the same command again: that file is fetched anew.",
        )
    data.chmod(0o644)
    data.replace(source.target)
    _beside(source, PARTS).unlink(missing_ok=True)


def _forget(source: Source) -> None:
    _beside(source, DATA).unlink(missing_ok=True)
    _beside(source, PARTS).unlink(missing_ok=True)


def _beside(source: Source, ending: str) -> Path:
    return source.target.with_name(source.target.name + ending)
