"""The file of keys: read at the start, looked at once a second, and read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from openllm.errors import ConfigurationError, Overloaded, option
from openllm.http.keys.account import KeyAccount
from openllm.http.keys.caller import Caller, Rank
from openllm.http.keys.entry import KeyEntry, Scrypt, read_entry, sha256_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it is there
LARGEST_FILE = 16 * 1024**2  # bytes
_REMEMBERED = 4096  # keys that were looked for among the slow hashes: found, or not
_MOST_WAITING = 8  # callers whose keys wait to be compared with slow hashes

_TOO_OPEN = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


@attrs.frozen
class Signature:
    """What changes when a file does."""

    time: int
    size: int
    node: int
    mode: int


@attrs.frozen
class Known:
    """An entry as requests meet it."""

    entry: KeyEntry
    account: KeyAccount
    caller: Caller


class KeyFile:
    """The keys of one file. Reading again keeps what each key has used; a broken file changes
    nothing.
    """

    def __init__(self, path: Path, workers: int = 1) -> None:
        """`workers`: processes that serve with the same file; each has its part of the limits.

        Errors: ConfigurationError for a file that cannot be read or has no valid entry.
        """
        self.path = path
        self._workers = workers
        self._accounts: dict[str, KeyAccount] = {}
        self._table: Mapping[str, Known] = {}
        self._names: Mapping[str, Known] = {}
        self._slow: Sequence[tuple[Scrypt, Known]] = ()
        self._tried: OrderedDict[str, Known | None] = OrderedDict()
        self._trying = asyncio.Lock()
        self._waiting = 0
        self._complaint: str | None = None  # what was logged last about the file
        self._signature = _sign(path)
        entries = read_keys(path)
        if all(entry.expired() for entry in entries):
            raise ConfigurationError(
                f"All keys of {path} have expired.",
                hint="Put a later date into one, or a new key.",
                param="api_keys_file",
            )
        self._warn(entries)
        self._use(entries)

    @property
    def accounts(self) -> Mapping[str, KeyAccount]:
        """By the names of the keys."""
        return self._accounts

    def named(self, name: str) -> Known | None:
        """The entry of that name."""
        return self._names.get(name)

    async def find(self, key: bytes) -> Known | None:
        """The entry of `key`. Chosen words are compared in a thread, one key at a time, the first
        time they come. Errors: Overloaded while too many unknown keys wait for that.
        """
        digest = sha256_of(key)
        known = self._table.get(digest)
        if known is not None or not self._slow:
            return known
        if digest in self._tried:
            self._tried.move_to_end(digest)
            return self._tried[digest]
        return await self._try(key, digest)

    async def _try(self, key: bytes, digest: str) -> Known | None:
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("Many unknown keys are being looked at.", hint="Try again later.")
        self._waiting += 1
        try:
            async with self._trying:
                if digest in self._tried:
                    return self._tried[digest]
                slow, tried = self._slow, self._tried
                found = await asyncio.to_thread(_first_match, slow, key)
        finally:
            self._waiting -= 1
        tried[digest] = found  # of the file as it was: another one has begun a list of its own
        if len(tried) > _REMEMBERED:
            tried.popitem(last=False)
        return found

    async def watch(self) -> None:
        """Look at the file again and again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the file if it has changed. What is wrong with it is logged once, and the keys stay
        as they are.
        """
        try:
            entries, signature = await asyncio.to_thread(self._changed)
        except ConfigurationError as error:
            if self._complaint != str(error):
                log.error("%s The keys read before stay in force.", error)
            self._complaint = str(error)
            return
        self._complaint = None
        if entries is not None:
            self._signature = signature
            self._warn(entries)
            self._use(entries)
            log.info("%s: read again, %d keys.", self.path, len(entries))

    def _changed(self) -> tuple[Sequence[KeyEntry] | None, Signature]:
        """In a thread. Errors: ConfigurationError."""
        signature = _sign(self.path)
        if signature == self._signature:
            return None, signature
        return read_keys(self.path), signature

    def _use(self, entries: Sequence[KeyEntry]) -> None:
        found = [self._known(entry) for entry in entries]
        self._names = {known.caller.name: known for known in found}
        self._accounts = {known.caller.name: known.account for known in found}
        self._table = {
            known.entry.hash: known for known in found if isinstance(known.entry.hash, str)
        }
        self._slow = [
            (known.entry.hash, known) for known in found if isinstance(known.entry.hash, Scrypt)
        ]
        self._tried = OrderedDict()

    def _known(self, entry: KeyEntry) -> Known:
        limits = entry.limits.shared(self._workers)
        account = self._accounts.get(entry.name)
        if account is None:
            account = KeyAccount(limits)
        elif account.limits != limits:
            account.change(limits)
        return Known(entry, account, Caller(Rank.USER, entry.name, entry.models, account))

    def _warn(self, entries: Sequence[KeyEntry]) -> None:
        for entry in entries:
            if entry.expired():
                log.warning("%s: the key %s has expired.", self.path, entry.name)
        if os.name == "posix" and self._signature.mode & _TOO_OPEN:
            log.warning(
                "%s can be read by every user of this machine, or changed by others. Run: chmod"
                " 640 %s",
                self.path,
                self.path,
            )


def read_keys(path: Path) -> Sequence[KeyEntry]:
    """The entries of a file. Errors: ConfigurationError that says what is wrong, in one line."""
    values = _load(path)
    entries = [read_entry(value, f"{path}: entry {at}") for at, value in enumerate(values, 1)]
    for what, told in ((_name, "are called"), (_hash, "have the hash of")):
        seen: set[str] = set()
        for entry in entries:
            if what(entry) in seen:
                raise ConfigurationError(
                    f"{path}: two keys {told} {entry.name!r}.",
                    hint="Remove one of them.",
                    param="api_keys_file",
                )
            seen.add(what(entry))
    return entries


def _name(entry: KeyEntry) -> str:
    return entry.name


def _hash(entry: KeyEntry) -> str:
    return str(entry.hash)


def _load(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _unusable(path, "is larger than 16 MiB")
        values = yaml.load(path.read_bytes(), _LOADER)  # noqa: S506  both are safe
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise _unusable(path, f"is not YAML{where}") from None
    if not isinstance(values, list):
        raise _unusable(path, "holds no list of keys" if values is not None else "is empty")
    if not values:
        raise _unusable(path, "is empty")
    return values


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The file of keys {path} {why}.",
        hint=f"`openllm keys new NAME` writes an entry for {option('api_keys_file')}.",
        param="api_keys_file",
    )


def _sign(path: Path) -> Signature:
    """Errors: ConfigurationError."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)


def _first_match(slow: Sequence[tuple[Scrypt, Known]], key: bytes) -> Known | None:
    return next((known for scrypt, known in slow if scrypt.matches(key)), None)
