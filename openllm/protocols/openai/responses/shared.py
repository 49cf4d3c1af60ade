"""Answers and conversations that several processes keep together, in one file: what a worker has
answered, the next one continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from openllm.errors import Overloaded
from openllm.protocols.openai.files.folder import lock
from openllm.protocols.openai.responses.store import Answered, P, Record, Store, T, Thread

FILE = "responses.sqlite"
_LIVING = "living-{}"
_WAIT_SECONDS = 10.0  # for another process that writes
_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    id TEXT PRIMARY KEY, thread INTEGER, previous TEXT, size INTEGER, used INTEGER, data BLOB);
CREATE INDEX IF NOT EXISTS least_used ON records (used);
CREATE TABLE IF NOT EXISTS items (item TEXT PRIMARY KEY, record TEXT);
CREATE INDEX IF NOT EXISTS items_of ON items (record);
"""
_INSERT = """
INSERT INTO records
SELECT ?, ?, ?, ?, (SELECT IFNULL(MAX(used), 0) + 1 FROM records), ?
"""
_USE = """
UPDATE records SET used = (SELECT IFNULL(MAX(used), 0) + 1 FROM records) WHERE id = ?
"""


class SharedStore(Store):
    """A `Store` in a directory that all who use it share, which this user alone can enter. Its
    bounds hold for all of them together. Each process holds a lock of its own name, by which the
    others see that it lives. Errors: also Overloaded, where the file cannot be read or written.
    """

    shared = True

    def __init__(self, most: int, most_bytes: int, folder: Path) -> None:
        super().__init__(most, most_bytes)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / FILE
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._folder = folder
        self._depth = 0
        self._thread = ThreadPoolExecutor(1, "openllm-responses")
        self._file = sqlite3.connect(
            path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        # One after the other: SQLite does not wait for another who switches to WAL.
        with lock(path.with_suffix(".lock"), wait=True):
            self._file.execute("PRAGMA journal_mode = WAL")
            # What is kept goes with the server, so that nothing waits for the disk.
            self._file.execute("PRAGMA synchronous = OFF")
            self._file.executescript(_TABLES)
            for left in folder.glob(_LIVING.format("*")):
                self.gone(left.name[len(_LIVING.format("")) :])
            self.process = secrets.token_hex(8)
            self._lives = contextlib.ExitStack()
            self._lives.enter_context(lock(self._living(self.process), wait=True))

    def close(self) -> None:
        """Let go of the file."""
        self._thread.shutdown()
        self._file.close()
        self._lives.close()
        self._living(self.process).unlink(missing_ok=True)

    def _living(self, process: str) -> Path:
        """What that process has locked for as long as it lives."""
        return self._folder / _LIVING.format(process)

    def gone(self, process: str) -> bool:
        if process == self.process:
            return False
        path = self._living(process)
        if not path.exists():
            return True
        with lock(path, wait=False) as ended:
            if ended:
                path.unlink(missing_ok=True)
        return ended

    async def apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        called = partial(contextvars.copy_context().run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, called)

    def __len__(self) -> int:
        return int(self._file.execute("SELECT COUNT(*) FROM records").fetchone()[0])

    @property
    def bytes(self) -> int:
        return int(self._file.execute("SELECT IFNULL(SUM(size), 0) FROM records").fetchone()[0])

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        with super().together():
            self._depth += 1
            try:
                if self._depth == 1:
                    self._file.execute("BEGIN IMMEDIATE")
                yield
                if self._depth == 1:
                    self._file.execute("COMMIT")
            except sqlite3.Error as error:
                raise _unreachable(error) from error
            finally:
                self._depth -= 1
                if not self._depth and self._file.in_transaction:
                    self._file.execute("ROLLBACK")

    def current(self, name: str) -> Record | None:
        return self._one("SELECT thread, data FROM records WHERE id = ?", name)

    def holder(self, item: str) -> Record | None:
        return self._one(
            "SELECT thread, data FROM records WHERE id = (SELECT record FROM items WHERE item = ?)",
            item,
        )

    def _one(self, query: str, name: str) -> Record | None:
        with super().together():  # one look needs no transaction, and waits for nobody who writes
            try:
                row = self._file.execute(query, (name,)).fetchone()
            except sqlite3.Error as error:
                raise _unreachable(error) from error
        if row is None:
            return None
        if row[0]:
            return msgspec.msgpack.decode(row[1], type=Thread)
        return msgspec.msgpack.decode(row[1], type=Answered)

    def put(self, record: Record) -> bool:
        with self.together():
            self.forget(record)
            size = record.size
            if not self.enabled or size > self._most_bytes:
                return False
            previous = record.previous if isinstance(record, Answered) else None
            data = msgspec.msgpack.encode(record)
            is_thread = isinstance(record, Thread)
            self._file.execute(_INSERT, (record.id, is_thread, previous, size, data))
            self._file.executemany(
                "INSERT OR REPLACE INTO items VALUES (?, ?)",
                [(item.id, record.id) for item in record.items()],
            )
            self._touch(record)
            self._make_room()
            found = self._file.execute("SELECT 1 FROM records WHERE id = ?", (record.id,))
            return found.fetchone() is not None

    def _make_room(self) -> None:
        while len(self) > self._most or self.bytes > self._most_bytes:
            row = self._file.execute("SELECT id FROM records ORDER BY used LIMIT 1").fetchone()
            self._remove(row[0])

    def forget(self, record: Record) -> None:
        with self.together():
            self._remove(record.id)

    def _remove(self, name: str) -> None:
        self._file.execute("DELETE FROM items WHERE record = ?", (name,))
        self._file.execute("DELETE FROM records WHERE id = ?", (name,))

    def _touch(self, record: Record | None) -> None:
        name = None if record is None else record.id
        while name is not None:
            self._file.execute(_USE, (name,))
            found = self._file.execute("SELECT previous FROM records WHERE id = ?", (name,))
            row = found.fetchone()
            name = None if row is None else row[0]


def _unreachable(error: sqlite3.Error) -> Overloaded:
    return Overloaded(f"What is kept here cannot be reached: {error}.", hint="Try again later.")
