"""Who a caller is, by the key that the route's dialect lets it send, and which pages may read what
it is answered.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from enum import IntEnum

from openllm.config.settings import Settings
from openllm.errors import Forbidden, Unauthorized
from openllm.http.dialect import Dialect

_HEADER_NAMES = re.compile(rb"[A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+)*")
_SENT_BY_PAGES = (b"content-type", b"x-request-id")
_READ_BY_PAGES = b"x-request-id, retry-after, x-openllm-ignored"


class Rank(IntEnum):
    """What a caller has shown."""

    NONE = 0
    USER = 1
    ADMIN = 2


class Auth:
    """The keys of one server, and the origins that it trusts."""

    def __init__(self, settings: Settings) -> None:
        self._user_key = _bytes(settings.api_key)
        self._admin_key = _bytes(settings.admin_key)
        self._origins = settings.cors_origins

    def identify(
        self, headers: Mapping[bytes, bytes], dialect: Dialect, *, public: bool = False
    ) -> Rank:
        """What the caller's key allows. Errors: Unauthorized where the right one is not there, and
        the route is not `public`.
        """
        sent = dialect.key(headers)
        is_admin = hmac.compare_digest(sent, self._admin_key) and bool(self._admin_key)
        is_user = hmac.compare_digest(sent, self._user_key) and bool(self._user_key)
        if is_admin:
            return Rank.ADMIN
        if is_user or not self._user_key:
            return Rank.USER
        if public:
            return Rank.NONE
        if not sent:
            raise Unauthorized("An API key is needed.", hint=f"Send it as {dialect.key_hint}.")
        raise Unauthorized(
            "The API key is wrong.", hint="Send the key this server was started with."
        )

    def owner(self, headers: Mapping[bytes, bytes], dialect: Dialect) -> str:
        """Whose it is what a caller has kept here: one name for each key, one for all callers where
        none is asked for.
        """
        if not self._user_key:
            return ""
        return hashlib.sha256(dialect.key(headers)).hexdigest()

    def require_admin(self, rank: Rank | None, dialect: Dialect) -> None:
        """Errors: Forbidden."""
        if not self._admin_key:
            raise Forbidden(
                "Adapters cannot be changed here.",
                hint="The operator allows it by setting OPENLLM_ADMIN_KEY.",
            )
        if rank is not Rank.ADMIN:
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
