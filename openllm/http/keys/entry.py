"""One entry of a file of keys: a name, the hash of the key, what it may use and until when."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import attrs

from openllm.discovery import did_you_mean
from openllm.errors import ConfigurationError
from openllm.http.keys.account import KeyLimits
from openllm.http.keys.caller import RESERVED

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FIELDS = (
    "name",
    "hash",
    "models",
    "requests_per_minute",
    "tokens_per_minute",
    "max_requests",
    "expires",
)
_LIMITS = ("requests_per_minute", "tokens_per_minute", "max_requests")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_SCRYPT = re.compile(r"scrypt:([0-9]{1,8}):([0-9]{1,2}):([0-9]{1,2}):([\w+/=]+):([\w+/=]+)")
# What scrypt costs for keys hashed here (OWASP's password storage cheat sheet), and may cost at
# most for those hashed elsewhere: 64 MiB
_N, _R, _P, _SALT_BYTES = 2**16, 8, 2, 16
_MOST_MEMORY = 64 * 1024**2
_KEY_BYTES = 32  # of a fresh key, at random


@attrs.frozen
class Scrypt:
    """A hash for words that somebody has chosen (RFC 7914): slow, so that guessing is."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, key: bytes) -> bool:
        """Takes a few tenths of a second, and memory; without the interpreter's lock."""
        return hmac.compare_digest(self._hash(key), self.digest)

    def _hash(self, key: bytes) -> bytes:
        return hashlib.scrypt(
            key,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=2 * _MOST_MEMORY,
            dklen=len(self.digest),
        )


@attrs.frozen
class KeyEntry:
    """What the file says of one key."""

    name: str
    hash: str | Scrypt  # the SHA-256 in hex, or scrypt's
    models: tuple[str, ...] | None = None  # names and globs; None: all
    limits: KeyLimits = attrs.field(factory=KeyLimits)
    expires: datetime | None = None  # the first moment at which it is no longer valid

    def expired(self, now: datetime | None = None) -> bool:
        return self.expires is not None and (now or datetime.now(UTC)) >= self.expires


def new_key() -> str:
    """A fresh key, impossible to guess."""
    return f"sk-{secrets.token_urlsafe(_KEY_BYTES)}"


def sha256_of(key: bytes) -> str:
    """The hash of a key that nobody can guess, in hex: what keys are looked up by."""
    return hashlib.sha256(key).hexdigest()


def scrypt_of(key: str) -> str:
    """The hash, as a file of keys has it, of words that somebody has chosen."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.scrypt(
        key.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=2 * _MOST_MEMORY, dklen=32
    )
    return f"scrypt:{_N}:{_R}:{_P}:{_text(salt)}:{_text(digest)}"


def read_entry(value: Any, where: str) -> KeyEntry:
    """One entry. `where` says in an error which one it is. Errors: ConfigurationError, which shows
    nothing of a hash or key.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} is no mapping of {', '.join(FIELDS)}.")
    name = value.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise ConfigurationError(
            f"{where} needs a name: 1 to 64 letters, digits or . _ - that begin with a letter or"
            f" digit, and none of {', '.join(RESERVED)}."
        )
    where = f"{where} ({name})"
    for field in value:
        if field not in FIELDS:
            hint = did_you_mean(str(field), FIELDS) or f"It has {', '.join(FIELDS)}."
            raise ConfigurationError(f"{where} has no {str(field)[:64]!r}.", hint=hint)
    limits = {field: _limit(value.get(field), f"{where}: {field}") for field in _LIMITS}
    return KeyEntry(
        name,
        _hash(value.get("hash"), where),
        _models(value.get("models"), where),
        KeyLimits(**limits),
        _expiry(value.get("expires"), where),
    )


def _hash(value: Any, where: str) -> str | Scrypt:
    text = value if isinstance(value, str) else ""
    if found := _SHA256.fullmatch(text):
        return found[1]
    if found := _SCRYPT.fullmatch(text):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in found.groups()[3:])
        except ValueError:
            salt = digest = b""
        n, r, p = map(int, found.groups()[:3])
        power = n > 1 and not n & (n - 1)
        if power and r and 1 <= p <= 4 and 128 * n * r <= _MOST_MEMORY and salt and digest[15:64]:
            return Scrypt(n, r, p, salt, digest)
    raise ConfigurationError(
        f"{where}: hash must be sha256:HEX, or scrypt:N:R:P:SALT:DIGEST within 64 MiB.",
        hint="`openllm keys new NAME` writes an entry, `openllm keys hash NAME` one for chosen"
        " words.",
    )


def _models(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{where}: models must be a list of names or globs.")
    return tuple(value)


def _limit(value: Any, where: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**12:
        raise ConfigurationError(f"{where} must be a whole number from 1 on, got {value!r}.")
    return value


def _expiry(value: Any, where: str) -> datetime | None:
    """A day is valid up to its end, in UTC; so is a moment without a zone."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError:
            value = ""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value + timedelta(days=1), time(), UTC)
    if value is not None:
        raise ConfigurationError(
            f"{where}: expires must be a date such as 2027-01-31, or a date and time."
        )
    return None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
