"""Which web pages may have a browser send requests here, told by the names that it sends along.

A browser runs the pages of anybody, also beside a server that only this machine can reach. One page
has its own name resolve to 127.0.0.1 and is then of the server's origin (DNS rebinding); another
sends what needs no permission, a form or plain text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from openllm.config.settings import Settings
from openllm.errors import Forbidden, option

# Names below these belong to nobody (RFC 6761, RFC 6762, ICANN for .internal).
_OWN_NAMES = (".localhost", ".local", ".internal")
_ANY = "*"
# The browser asks before a page of another origin sends these.
_KEYS = frozenset((b"authorization", b"x-api-key", b"api-key"))


class Origins:
    """The names by which a server may be called, and the origins whose pages may call it."""

    def __init__(self, settings: Settings) -> None:
        self._open = settings.api_key is None and settings.api_keys_file is None
        self._hosts = tuple(map(_name, settings.allowed_hosts))
        self._origins = settings.cors_origins

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Errors: Forbidden."""
        if self._open and b"host" in headers and _is_loopback(scope):
            self._check_host(headers[b"host"].decode("latin-1"))
        if scope["method"] == "POST" and b"origin" in headers:
            self._check_origin(headers)

    def _check_host(self, said: str) -> None:
        name = _name(said)
        if _is_own(name) or any(_fits(name, allowed) for allowed in self._hosts):
            return
        raise Forbidden(
            f"This server does not go by the name {name[:128]!r}.",
            hint=f"The operator allows it by {option('allowed_hosts')}, or by setting an API key.",
        )

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Other origins may send JSON alone: the browser has asked before whether they may."""
        origin = headers[b"origin"].decode("latin-1")
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == b"application/json" or kind.endswith(b"+json"):
            return
        if origin in self._origins or _ANY in self._origins:
            return
        if headers.get(b"sec-fetch-site") == b"same-origin" or not _KEYS.isdisjoint(headers):
            return  # what a page cannot say by itself, or not without having asked
        if urlsplit(origin).netloc.lower() == headers.get(b"host", b"").decode("latin-1").lower():
            return
        raise Forbidden(
            "A page of another origin may not send this.",
            hint="Send it as application/json; the operator allows the origin by"
            f" {option('cors_origins')}.",
        )


def _is_loopback(scope: Scope) -> bool:
    """Whether the connection came in at an address that only this machine reaches."""
    address = (scope.get("server") or ("", None))[0]
    try:
        return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


def _name(said: str) -> str:
    """The name, or the address, in a Host header."""
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0].lower().removesuffix(".")


def _fits(name: str, allowed: str) -> bool:
    """Whether a host is meant by what the operator allows: it, any, or all below a `*.domain`."""
    if allowed == _ANY:
        return True
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed


def _is_own(name: str) -> bool:
    """Whether no stranger can have that name resolve to where he likes: an address, a name without
    a domain, or one below a domain that is nobody's.
    """
    if "." not in name or name.endswith(_OWN_NAMES):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
