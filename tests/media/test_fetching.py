"""Images are fetched from public addresses alone, within limits; redirections are looked at too."""

from __future__ import annotations

import gzip
import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.media import fetching
from openllm.media.decoding import ImageLimits
from openllm.media.fetching import fetch, is_public
from openllm.media.looking import _fetched
from openllm.types import Image

FILE = b"the bytes of an image"
LIMITS = ImageLimits(1, len(FILE), 100)
REDIRECTIONS = {
    "/moved": "/image",
    "/loop": "/loop",
    "/inside": "http://10.0.0.1/image",
    "/local": "http://localhost:1/image",
    "/file": "file:///etc/passwd",
}
COMPRESSED = {"/gzip": "gzip", "/twice": "gzip, gzip", "/identity": "identity"}
TWICE = gzip.compress(gzip.compress(bytes(1024**2)))
WIDE = ImageLimits(1, 2 * 1024**2, 100)  # what is compressed would be allowed as it is, too


class Pages(BaseHTTPRequestHandler):
    hosts: tuple[str, ...] = ()
    codings: tuple[str | None, ...] = ()

    def do_GET(self) -> None:
        Pages.hosts = (*Pages.hosts, self.headers["Host"])
        Pages.codings = (*Pages.codings, self.headers["Accept-Encoding"])
        if self.path in REDIRECTIONS:
            self.send_response(302)
            self.send_header("Location", REDIRECTIONS[self.path])
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(FILE * 100)
        elif self.path in COMPRESSED:
            self.send_response(200)
            self.send_header("Content-Encoding", COMPRESSED[self.path])
            self.end_headers()
            self.wfile.write(TWICE)
        else:
            self.send_response(200 if self.path == "/image?a=b" or self.path == "/image" else 404)
            self.end_headers()
            self.wfile.write(FILE)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the test's own server, and no other, were at a public address."""
    monkeypatch.setattr(fetching, "is_public", lambda address: str(address) == "127.0.0.1")
    monkeypatch.setattr(fetching, "SECONDS", 5.0)


@pytest.mark.usefixtures("open_here")
@pytest.mark.parametrize("path", ["/image", "/image?a=b", "/moved"])
async def test_a_public_image_is_fetched(pages: str, path: str) -> None:
    assert await fetch(Image(pages + path), LIMITS) == FILE
    assert Pages.hosts[-1] == pages.removeprefix("http://")
    assert Pages.codings[-1] == "identity"


@pytest.mark.usefixtures("open_here")
@pytest.mark.parametrize("path", ["/gzip", "/twice"])
async def test_nothing_is_unpacked_on_the_way(pages: str, path: str) -> None:
    with pytest.raises(InvalidRequest, match="comes compressed"):
        await fetch(Image(pages + path), WIDE)
    assert await fetch(Image(f"{pages}/identity"), WIDE) == TWICE


@pytest.mark.usefixtures("open_here")
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/loop", "is redirected more than 3 times"),
        ("/inside", "is not at a public address"),
        ("/file", "must be a plain http or https URL"),
        ("/gone", "is answered with 404"),
        ("/endless", f"at most {len(FILE)} are allowed"),
    ],
)
async def test_what_is_not_fetched_says_why(pages: str, path: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        await fetch(Image(pages + path, "here"), LIMITS)
    assert caught.value.param == "here"
    assert "10.0.0.1" not in str(caught.value)


async def test_no_private_address_is_asked(pages: str) -> None:
    before = Pages.hosts
    for url in (f"{pages}/image", pages.replace("127.0.0.1", "localhost") + "/image"):
        with pytest.raises(InvalidRequest, match="is not at a public address"):
            await fetch(Image(url), LIMITS)
    with pytest.raises(InvalidRequest, match="must be a plain"):
        await fetch(Image("http://user:password@example.com/"), LIMITS)
    with pytest.raises(InvalidRequest):
        await fetch(Image("http://[::1/"), LIMITS)
    assert Pages.hosts == before


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fec0::1", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("::ffff:0:127.0.0.1", False),
        ("::ffff:0:8.8.8.8", False),
        ("::7f00:1", False),
        ("::808:808", False),
        ("4000::1", False),
        ("240.0.0.1", False),
        ("168.63.129.16", False),
        ("64:ff9b::a83f:8110", False),
        ("::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def test_urls_are_the_operators_to_allow() -> None:
    image = Image("https://example.com/a.png", "there")
    with pytest.raises(UnsupportedFeature, match="image_urls") as caught:
        await _fetched([image], LIMITS, Settings())
    assert caught.value.param == "there"
