"""The directory in which files and batches are kept: what is in it, whose it is, and how much of it
there may be.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
import msgspec

from openllm.config.settings import Settings
from openllm.errors import (
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    UnsupportedFeature,
    option,
)
from openllm.weights.temporary import Temporary

log = logging.getLogger(__name__)

FILE_ID = re.compile(r"file-[0-9a-f]{32}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
STALE_SECONDS = 3600.0  # after which what an upload has left behind is nobody's


class StoredFile(msgspec.Struct, frozen=True):
    """What is kept beside a file's bytes. Times are Unix times, in seconds."""

    id: str
    owner: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None = None


def new_file_id() -> str:
    """An id that nobody guesses."""
    return f"file-{secrets.token_hex(16)}"


@attrs.frozen
class Bounds:
    """How much may be kept: so many bytes, so many files."""

    file_bytes: int
    all_bytes: int
    number: int


class Folder:
    """The files of one server, or of all servers that share the directory. What a method does, it
    does on the disk, so it is called in a thread.
    """

    def __init__(self, settings: Settings) -> None:
        self.shared = settings.files_root is not None  # with other processes, perhaps
        self.bounds = Bounds(settings.max_file_bytes, settings.max_files_bytes, settings.max_files)
        self._root = settings.files_root
        self._apart = settings.api_workers > 1 and not self.shared
        self._temporary: Temporary | None = None
        self._making = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether anything is kept."""
        return self.bounds.number > 0 and not self._apart

    def require(self) -> None:
        """Errors: UnsupportedFeature where nothing is kept."""
        if not self.bounds.number:
            raise UnsupportedFeature(
                "This server keeps no files.",
                hint=f"The operator has them kept with {option('max_files')}.",
            )
        if self._apart:
            raise UnsupportedFeature(
                "This server keeps no files: its API workers share no directory.",
                hint=f"The operator names one with {option('files_root')}.",
            )

    @property
    def root(self) -> Path:
        """The directory, made where it is not there yet, for this user alone."""
        with self._making:
            if self._root is None:
                self._temporary = Temporary()
                self._root = self._temporary.path
            for path in (self._root, self._root / "files", self._root / "batches"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._root

    def close(self) -> None:
        """Remove what goes with the server."""
        if self._temporary is not None:
            self._temporary.close()

    # Files.

    def add(self, source: BinaryIO, file: StoredFile) -> None:
        """Keep what `source` has from where it stands. Errors: PayloadTooLarge, InvalidRequest
        where there is no room for it, Overloaded where the disk is full.
        """
        if file.bytes > self.bounds.file_bytes:
            raise PayloadTooLarge(f"The file is larger than {self.bounds.file_bytes} bytes.")
        with self.locked():
            self._check_room(file.bytes)
            with room_on_disk():
                self._write(source, file)

    def add_results(self, source: BinaryIO, file: StoredFile) -> None:
        """Keep what has been answered, which is asked for no more, whatever else is there."""
        with self.locked():
            self._write(source, file)

    def _write(self, source: BinaryIO, file: StoredFile) -> None:
        with private(self.data(file.id)) as target:
            shutil.copyfileobj(source, target)
        try:
            replace(self._about(file.id), msgspec.json.encode(file))
        except OSError:
            self.data(file.id).unlink(missing_ok=True)  # nobody could find it
            raise

    def _check_room(self, size: int) -> None:
        kept = self._sweep()
        if len(kept) >= self.bounds.number:
            raise InvalidRequest(
                f"{len(kept)} files are kept already.", hint="Delete one that is not needed."
            )
        if self.used() + size > self.bounds.all_bytes:
            raise InvalidRequest(
                f"The files that are kept may have {self.bounds.all_bytes} bytes together.",
                hint="Delete some that are not needed.",
            )

    def used(self) -> int:
        """Bytes of all files, and of the answers that are to become some."""
        root = self.root
        files = (path for path in (root / "files").iterdir() if path.suffix != ".json")
        answers = (root / "batches").glob("*.answers")
        return sum(map(_size, (*files, *answers)))

    def files(self, owner: str) -> list[StoredFile]:
        """The oldest first."""
        found = [file for file in self._sweep() if file.owner == owner]
        return sorted(found, key=lambda file: (file.created_at, file.id))

    def file(self, owner: str, name: str) -> StoredFile:
        """Errors: NotFound."""
        found = self._read(self._about(name)) if FILE_ID.fullmatch(name) else None
        if found is None or found.owner != owner or _expired(found):
            raise NotFound(
                f"There is no file {name[:128]!r}.",
                hint="Send it again: files do not stay forever.",
            )
        return found

    def remove(self, file: StoredFile) -> None:
        """A file that is gone already is fine."""
        self._about(file.id).unlink(missing_ok=True)
        self.data(file.id).unlink(missing_ok=True)

    def data(self, name: str) -> Path:
        """Where the bytes of a file are."""
        return self.root / "files" / f"{name}.data"

    def _about(self, name: str) -> Path:
        return self.root / "files" / f"{name}.json"

    def _read(self, path: Path) -> StoredFile | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=StoredFile)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _sweep(self) -> list[StoredFile]:
        """All files; those whose time is over, and what broken uploads have left, are removed."""
        place = self.root / "files"
        found = [file for path in place.glob("*.json") if (file := self._read(path)) is not None]
        for file in found:
            if _expired(file):
                self.remove(file)
        known = {file.id for file in found}
        for path in place.iterdir():
            if path.suffix != ".json" and path.stem not in known and _stale(path):
                path.unlink(missing_ok=True)
        return [file for file in found if not _expired(file)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else adds anything."""
        with lock(self.root / "lock", wait=True):
            yield


def _expired(file: StoredFile) -> bool:
    return file.expires_at is not None and file.expires_at <= time.time()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def room_on_disk() -> Iterator[None]:
    """A block that writes for a client. Errors: Overloaded where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        log.warning("The disk of the files that are kept is full.")
        raise Overloaded(
            "The disk of the server's files is full.",
            hint="Delete files that are not needed, or try again later.",
            retry_after=60,
        ) from None


@contextlib.contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of that name, which the system opens when its holder is gone; yields whether it
    is held.
    """
    import fcntl

    with _open(path, os.O_CREAT) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def private(path: Path) -> Iterator[BinaryIO]:
    """A file to be written, which stands at `path` once it is complete."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with _open(aside, os.O_CREAT | os.O_EXCL) as file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def replace(path: Path, data: bytes) -> None:
    """Let `path` have `data`, all at once."""
    with private(path) as file:
        file.write(data)


def _open(path: Path, flags: int) -> BinaryIO:
    """A file that this user alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | flags, 0o600), "wb")
