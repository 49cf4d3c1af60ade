"""Images named by http(s) URLs: fetched from public addresses alone, within limits of size and
time.

A name is resolved once, all its addresses are looked at, and the connection goes to one of those:
who answers for the name cannot send it elsewhere meanwhile. Each redirection is looked at in the
same way. No proxy and no credential of this process is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from openllm.errors import InvalidRequest
from openllm.media.decoding import ImageLimits, require_size
from openllm.types import Image

SECONDS = 10.0  # for all of it
MOST_REDIRECTIONS = 3
PORTS = {"http": 80, "https": 443}
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
# Nothing is taken compressed: a few bytes could become any number before they are counted.
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "openllm"}
# Azure's agent and DNS of every virtual machine, at an address that is global by itself.
_OF_CLOUDS = frozenset({ipaddress.ip_address("168.63.129.16")})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def fetch(image: Image, limits: ImageLimits) -> bytes:
    """The file that an image's URL stands for. Errors: InvalidRequest, which says nothing of what
    is at an address.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(image, limits)
    except TimeoutError:
        raise _failed(image, f"did not come within {SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        raise _failed(image, "could not be fetched") from None


async def _fetch(image: Image, limits: ImageLimits) -> bytes:
    url = image.url
    for _ in range(MOST_REDIRECTIONS + 1):
        found = await _get(image, url, limits)
        if isinstance(found, bytes):
            return found
        url = urljoin(url, found)
    raise _failed(image, f"is redirected more than {MOST_REDIRECTIONS} times")


async def _get(image: Image, url: str, limits: ImageLimits) -> bytes | str:
    """The file at `url`, or where it has gone."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
        raise _failed(image, "must be a plain http or https URL")
    address = await _public_address(image, parts)
    host = parts.hostname.encode("idna").decode()
    written = f"[{address}]" if address.version == 6 else str(address)
    port = parts.port or PORTS[parts.scheme]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=SECONDS) as client,
        client.stream(
            "GET",
            f"{parts.scheme}://{written}:{port}{path}",
            headers={"Host": _named(host, parts), **_HEADERS},
            extensions={"sni_hostname": host},
        ) as response,
    ):
        if response.status_code in _REDIRECTIONS and "location" in response.headers:
            return str(response.headers["location"])
        if response.status_code != 200:
            raise _failed(image, f"is answered with {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _failed(image, "comes compressed (Content-Encoding), which was not asked for")
        file = bytearray()
        async for chunk in response.aiter_raw():
            file += chunk
            require_size(image, len(file), limits)
        return bytes(file)


def _named(host: str, parts: SplitResult) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if parts.port in (None, PORTS[parts.scheme]) else f"{name}:{parts.port}"


async def _public_address(image: Image, parts: SplitResult) -> Address:
    """One of the addresses of a URL's host, all of which are public. Errors: InvalidRequest."""
    port = parts.port or PORTS[parts.scheme]
    found = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, port, type=socket.SOCK_STREAM
    )
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not addresses or not all(map(is_public, addresses)):
        raise _failed(image, "is not at a public address")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether an address is global by IANA's registries, as Python has them, and neither multicast,
    reserved nor site-local, nor a cloud's own; and so is each IPv4 address that is written in it
    (IPv4-mapped, NAT64 by RFC 6052's prefix, 6to4, Teredo). What else stands behind an address,
    such as a NAT64 prefix of an operator's choice, is not known here.
    """
    return all(map(_is_global, _notations(address)))


def _is_global(address: Address) -> bool:
    if address in _OF_CLOUDS or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global


def _notations(address: Address) -> Iterator[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    # These two are an IPv4 address and nothing else. Whatever else is in ::/8 is reserved: local
    # NAT64 (64:ff9b:1::/48), IPv4-translated (::ffff:0:0:0/96), IPv4-compatible (::/96).
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _failed(image: Image, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"{image.name} the image {what}.", hint="Send it as a data: URI.", param=image.param
    )
