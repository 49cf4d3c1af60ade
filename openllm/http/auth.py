"""Who a caller is, by the key that the route's dialect lets it send, and which pages may read what
it is answered.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from openllm.config.settings import Settings
from openllm.errors import ConfigurationError, Forbidden, Unauthorized, option
from openllm.http.dialect import Dialect
from openllm.http.keys.caller import ADMIN, ANYBODY, NOBODY, USER, Caller, Rank
from openllm.http.keys.file import KeyFile

_HEADER_NAMES = re.compile(rb"[A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+)*")
_SENT_BY_PAGES = (b"content-type", b"x-request-id")
_READ_BY_PAGES = b"x-request-id, retry-after, x-openllm-ignored"


def check_files(settings: Settings) -> None:
    """Whether the files that `settings` name for a server's doors can be used: asked once, before
    anything is loaded. Errors: ConfigurationError.
    """
    if settings.api_keys_file is not None:
        KeyFile(settings.api_keys_file)
    if settings.files_root is not None:
        _check_private(settings.files_root)
    root = settings.adapter_root
    if root is not None and not root.expanduser().is_dir():
        raise ConfigurationError(
            f"The adapter root {root} is no directory.",
            hint=f"Make it, or give {option('adapter_root')} another.",
            param="adapter_root",
        )


def _check_private(root: Path) -> None:
    """Make the directory of files, or look whether others can get in."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = root.stat().st_mode
    except OSError as error:
        raise ConfigurationError(
            f"The directory of files {root} cannot be made or read: {error.strerror}.",
            hint=f"Give {option('files_root')} another.",
            param="files_root",
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"Other users of this machine get into the directory of files {root}.",
            hint=f"Run: chmod 700 {root}",
            param="files_root",
        )


class Auth:
    """The keys of one server, and the origins that it trusts."""

    def __init__(self, settings: Settings) -> None:
        """Errors: ConfigurationError for a file of keys that cannot be used."""
        self._user_key = _bytes(settings.api_key)
        self._admin_key = _bytes(settings.admin_key)
        self._origins = settings.cors_origins
        path = settings.api_keys_file
        self.keys = None if path is None else KeyFile(path, settings.api_workers)

    async def identify(
        self, headers: Mapping[bytes, bytes], dialect: Dialect, *, public: bool = False
    ) -> Caller:
        """Whose key a request carries. Errors: Unauthorized where no valid one is there, and the
        route is not `public`.
        """
        sent = dialect.key(headers)
        if self._admin_key and hmac.compare_digest(sent, self._admin_key):
            return ADMIN
        if self._user_key and hmac.compare_digest(sent, self._user_key):
            return USER
        if self.keys is None and not self._user_key:
            return ANYBODY
        if public:
            return NOBODY
        if self.keys is not None and sent:
            known = await self.keys.find(sent)
            if known is not None and not known.entry.expired():
                return known.caller
            if known is not None:
                raise Unauthorized("The API key has expired.", hint="Ask the operator for another.")
        if not sent:
            raise Unauthorized("An API key is needed.", hint=f"Send it as {dialect.key_hint}.")
        whose = "this server was started with" if self.keys is None else "the operator gave you"
        raise Unauthorized("The API key is wrong.", hint=f"Send the key {whose}.")

    def named(self, name: str) -> Caller:
        """The caller of that name, as it is now. Errors: Unauthorized where its key is no longer
        valid.
        """
        if name == ADMIN.name and self._admin_key:
            return ADMIN
        if name == USER.name and self._user_key:
            return USER
        if not name and self.keys is None and not self._user_key:
            return ANYBODY
        known = None if self.keys is None else self.keys.named(name)
        if known is None or known.entry.expired():
            raise Unauthorized(
                "The API key that asked for this is no longer valid.",
                hint="Ask again with another.",
            )
        return known.caller

    def owner(self, headers: Mapping[bytes, bytes], dialect: Dialect) -> str:
        """Whose it is what a caller has kept here: one name for each key, one for all callers where
        none is asked for.
        """
        if not self._user_key and self.keys is None:
            return ""
        return hashlib.sha256(dialect.key(headers)).hexdigest()

    def require_admin(self, caller: Caller, dialect: Dialect) -> None:
        """Errors: Forbidden."""
        if not self._admin_key:
            raise Forbidden(
                "Nobody is an administrator here.",
                hint="The operator allows it by setting OPENLLM_ADMIN_KEY.",
            )
        if caller.rank is not Rank.ADMIN:
            raise Forbidden("This needs the admin key.", hint=f"Send it as {dialect.key_hint}.")

    def cors(
        self, method: str, headers: Mapping[bytes, bytes], dialect: Dialect
    ) -> list[tuple[bytes, bytes]]:
        """The headers that let a page of an allowed origin read the answer."""
        origin = headers.get(b"origin", b"")
        if not origin or not (origin.decode("latin-1") in self._origins or "*" in self._origins):
            return []
        shared = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if method != "OPTIONS":
            return [*shared, (b"access-control-expose-headers", _READ_BY_PAGES)]
        sent = b", ".join((*dialect.key_headers, *_SENT_BY_PAGES))
        asked = headers.get(b"access-control-request-headers", b"")
        if _HEADER_NAMES.fullmatch(asked):  # clients in pages send headers of their own
            sent = b", ".join((sent, asked))
        return [
            *shared,
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", sent),
            (b"access-control-max-age", b"600"),
        ]


def _bytes(key: str | None) -> bytes:
    return key.encode() if key else b""
