"""The batches in the directory of files: written by whoever runs them, read by all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container, Iterator
from pathlib import Path

import msgspec

from openllm.errors import InvalidRequest, NotFound
from openllm.protocols.openai.batch.record import BATCH_ID, Batch
from openllm.protocols.openai.files.folder import Folder, lock, replace, room_on_disk


class KeptBatches:
    """Beside a batch, `ID.json`, stand its input, the answers there are, the lock of the process
    that runs it, and the wish that it be cancelled. Methods are called in a thread, as `Folder`'s.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._ended: set[str] = set()  # which never change

    def create(self, batch: Batch) -> None:
        """Keep a new batch. Errors: InvalidRequest where there are too many that have not ended;
        of those that have, the oldest go; Overloaded where the disk is full.
        """
        with self._folder.locked(), room_on_disk():
            self._make_room()
            # what it reads stays, even when the file is deleted
            os.link(self._folder.data(batch.input_file_id), self.input(batch.id))
            self.write(batch)

    def _make_room(self) -> None:
        found = self._all()
        ended = [batch for batch in found if batch.ended]
        most = self._folder.bounds.number
        if len(found) - len(ended) >= most:
            raise InvalidRequest(
                f"{most} batches have not ended yet.", hint="Wait for one, or cancel one."
            )
        for batch in ended[: max(0, len(found) - most + 1)]:
            self._about(batch.id).unlink(missing_ok=True)
            self._lock(batch.id).unlink(missing_ok=True)

    def write(self, batch: Batch) -> None:
        """Keep a batch as it is now; of one that has ended, what it needed goes."""
        replace(self._about(batch.id), msgspec.json.encode(batch))
        if batch.ended:
            for path in (self.input(batch.id), self.answers(batch.id), self._wish(batch.id)):
                path.unlink(missing_ok=True)

    def batch(self, owner: str, name: str) -> Batch:
        """Errors: NotFound."""
        found = self.read(name) if BATCH_ID.fullmatch(name) else None
        if found is None or found.owner != owner:
            raise NotFound(f"There is no batch {name[:128]!r}.")
        return found

    def of(self, owner: str) -> list[Batch]:
        """The oldest first."""
        return [batch for batch in self._all() if batch.owner == owner]

    def unfinished(self) -> list[Batch]:
        """Of all owners, the oldest first."""
        found = self._all(self._ended)
        self._ended.update(batch.id for batch in found if batch.ended)
        return [batch for batch in found if not batch.ended]

    def _all(self, without: Container[str] = ()) -> list[Batch]:
        names = [path.stem for path in self._place.glob("*.json") if path.stem not in without]
        found = [batch for name in names if (batch := self.read(name)) is not None]
        return sorted(found, key=lambda batch: (batch.created_at, batch.id))

    def read(self, name: str) -> Batch | None:
        """The batch as whoever asks is to see it."""
        try:
            batch = msgspec.json.decode(self._about(name).read_bytes(), type=Batch)
        except FileNotFoundError:
            return None
        wished = self.cancel_wished(name)
        if wished is not None and batch.status in ("validating", "in_progress"):
            batch.become("cancelling", wished)
        return batch

    def cancel(self, batch: Batch) -> Batch:
        """Wish that a batch ends, and show it so. Errors: InvalidRequest where it has."""
        if batch.ended:
            raise InvalidRequest(f"The batch is {batch.status}: it cannot be cancelled.")
        self._wish(batch.id).touch(mode=0o600)
        return self.read(batch.id) or batch

    def cancel_wished(self, name: str) -> int | None:
        """When it was wished that a batch ends."""
        try:
            return int(self._wish(name).stat().st_mtime)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def claimed(self, name: str) -> Iterator[bool]:
        """A batch is run by one process; yields whether it is this one."""
        with lock(self._lock(name), wait=False) as held:
            yield held

    def input(self, name: str) -> Path:
        """Its requests."""
        return self._place / f"{name}.input"

    def answers(self, name: str) -> Path:
        """The answers while it runs."""
        return self._place / f"{name}.answers"

    @property
    def _place(self) -> Path:
        return self._folder.root / "batches"

    def _about(self, name: str) -> Path:
        return self._place / f"{name}.json"

    def _wish(self, name: str) -> Path:
        return self._place / f"{name}.cancel"

    def _lock(self, name: str) -> Path:
        return self._place / f"{name}.lock"


def now() -> int:
    return int(time.time())
