"""Bodies as gzip: of requests within the limit, of whole answers for who asks; never of streams."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from openllm.http.compression import packed, takes_gzip, unpacked
from tests.protocols.conftest import echo_llm
from tests.serving import serve

TEXT = "/v1/completions"
LIMIT = 4096


@pytest.fixture(scope="module")
def small(echo_model: Path) -> Iterator[httpx.Client]:
    settings = Settings(max_body_bytes=LIMIT)
    with serve(echo_llm(echo_model), settings=settings) as found, found.client() as client:
        yield client


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        (b"gzip", True),
        (b"deflate, gzip;q=0.5, br", True),
        (b"br, x-gzip", True),
        (b"GZIP ; q=1.0", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"identity, br", False),
        (b"notgzip", False),
        (b"", False),
    ],
)
def test_who_asks_for_it(accepted: bytes, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


def test_what_was_packed_is_unpacked_within_the_limit() -> None:
    body = b"a" * 1000
    assert unpacked(packed(body), b"gzip", 1000) == body
    assert unpacked(packed(body[:500]) + packed(body[500:]), b"x-gzip", 1000) == body
    assert unpacked(body, b"identity", 1) == body
    with pytest.raises(PayloadTooLarge):
        unpacked(packed(body), b"gzip", 999)
    with pytest.raises(PayloadTooLarge):
        unpacked(packed(body) + packed(body), b"gzip", 1999)
    for broken in (packed(body)[:-9], b"\x1f\x8b", packed(body) + b"x", packed(b"") * 1001):
        with pytest.raises(InvalidRequest):
            unpacked(broken, b"gzip", 9999)
    with pytest.raises(UnsupportedMediaType, match="'br'"):
        unpacked(body, b"br", 9999)


def test_a_request_may_come_as_gzip(small: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"prompt": "hello"}).encode())
    answer = small.post(TEXT, content=body, headers={"content-encoding": "gzip"})
    assert answer.json()["choices"][0]["text"] == "hello"


def test_what_unpacks_to_too_much_is_a_413(small: httpx.Client) -> None:
    body = gzip.compress(b" " * 10**6)
    assert len(body) < LIMIT
    answer = small.post(TEXT, content=body, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413


def test_another_encoding_is_a_415(small: httpx.Client) -> None:
    answer = small.post(TEXT, content=b"x", headers={"content-encoding": "br"})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_large_answers_are_packed_for_who_asks(small: httpx.Client) -> None:
    body = {"prompt": "hello world", "max_tokens": 400, "ignore_eos": True, "n": 4}
    asked = small.post(TEXT, json=body, headers={"accept-encoding": "gzip"})
    plain = small.post(TEXT, json=body, headers={"accept-encoding": "identity"})
    assert asked.headers["content-encoding"] == "gzip"
    assert int(asked.headers["content-length"]) < int(plain.headers["content-length"])
    assert "content-encoding" not in plain.headers
    assert asked.json()["choices"] == plain.json()["choices"]
    little = small.post(TEXT, json={"prompt": "a"}, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in little.headers


def test_streams_are_never_packed(small: httpx.Client) -> None:
    body = {"prompt": "hello world", "max_tokens": 300, "ignore_eos": True, "stream": True}
    answer = small.post(TEXT, json=body, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
