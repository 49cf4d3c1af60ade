"""Bodies as gzip and zstd: of requests within the limit, of whole answers for who asks; never of
streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from openllm.http.compression import chosen, codings, packed, unpacked
from tests.protocols.conftest import echo_llm
from tests.serving import serve

TEXT = "/v1/completions"
LIMIT = 4096


@pytest.fixture(scope="module")
def small(echo_model: Path) -> Iterator[httpx.Client]:
    settings = Settings(max_body_bytes=LIMIT)
    with serve(echo_llm(echo_model), settings=settings) as found, found.client() as client:
        yield client


# What there is here; zstd needs a package that an environment may have been made without.
CODINGS = tuple(codings())
needs_zstd = pytest.mark.skipif("zstd" not in CODINGS, reason="needs backports.zstd")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip", "gzip"),
        (b"deflate, gzip;q=0.5, br", "gzip"),
        (b"br, x-gzip", "gzip"),
        (b"GZIP ; q=1.0", "gzip"),
        (b"zstd;q=0, gzip", "gzip"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000", None),
        (b"gzip;q=", None),
        (b"gzip;q=.", None),
        (b"identity, br", None),
        (b"notgzip", None),
        (b"", None),
    ],
)
def test_who_asks_for_gzip(accepted: bytes, coding: str | None) -> None:
    assert chosen(accepted) == coding


@needs_zstd
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip, deflate, br, zstd", "zstd"),
        (b"zstd", "zstd"),
        (b"gzip;q=1, zstd;q=0.5", "gzip"),
        (b"gzip;q=0.5, zstd;q=0.5", "zstd"),
    ],
)
def test_who_asks_for_zstd(accepted: bytes, coding: str) -> None:
    assert chosen(accepted) == coding


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_packed_is_unpacked_within_the_limit(coding: str) -> None:
    body, name = b"a" * 1000, coding.encode()
    assert unpacked(packed(body, coding), name, 1000) == body
    assert unpacked(packed(body[:500], coding) + packed(body[500:], coding), name, 1000) == body
    assert unpacked(body, b"identity", 1) == body
    with pytest.raises(PayloadTooLarge):
        unpacked(packed(body, coding), name, 999)
    with pytest.raises(PayloadTooLarge):
        unpacked(packed(body, coding) + packed(body, coding), name, 1999)
    for broken in (packed(body, coding)[:-9], b"\x1f\x8b", packed(body, coding) + b"x"):
        with pytest.raises(InvalidRequest, match=coding):
            unpacked(broken, name, 9999)
    with pytest.raises(InvalidRequest, match="parts"):
        unpacked(packed(b"", coding) * 1001, name, 9999)


def test_another_coding_is_named() -> None:
    with pytest.raises(UnsupportedMediaType, match="'br'"):
        unpacked(b"body", b"br", 9999)
    assert unpacked(b"", b"gzip", 9999) == b""
    assert unpacked(packed(b"body", "gzip"), b"x-gzip", 9999) == b"body"


@needs_zstd
def test_a_frame_that_needs_much_memory_is_refused() -> None:
    header = b"\x28\xb5\x2f\xfd\x00\x88"  # of a window of 128 MiB, which no content size bounds
    with pytest.raises(InvalidRequest, match="memory"):
        unpacked(header + b"\x01\x00\x00", b"zstd", 9999)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_request_may_come_packed(small: httpx.Client, coding: str) -> None:
    body = packed(json.dumps({"prompt": "hello"}).encode(), coding)
    answer = small.post(TEXT, content=body, headers={"content-encoding": coding})
    assert answer.json()["choices"][0]["text"] == "hello"


@pytest.mark.parametrize("coding", CODINGS)
def test_what_unpacks_to_too_much_is_a_413(small: httpx.Client, coding: str) -> None:
    body = packed(b" " * 10**5, coding)
    assert len(body) < LIMIT
    answer = small.post(TEXT, content=body, headers={"content-encoding": coding})
    assert answer.status_code == 413


def test_another_encoding_is_a_415(small: httpx.Client) -> None:
    answer = small.post(TEXT, content=b"x", headers={"content-encoding": "br"})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("coding", CODINGS)
def test_large_answers_are_packed_for_who_asks(small: httpx.Client, coding: str) -> None:
    body = {"prompt": "hello world", "max_tokens": 400, "ignore_eos": True, "n": 4}
    with small.stream("POST", TEXT, json=body, headers={"accept-encoding": coding}) as asked:
        raw = b"".join(asked.iter_raw())
    plain = small.post(TEXT, json=body, headers={"accept-encoding": "identity"})
    assert asked.headers["content-encoding"] == coding
    assert int(asked.headers["content-length"]) < int(plain.headers["content-length"])
    assert "content-encoding" not in plain.headers
    whole = json.loads(unpacked(raw, coding.encode(), 10**6))
    assert whole["choices"] == plain.json()["choices"]
    little = small.post(TEXT, json={"prompt": "a"}, headers={"accept-encoding": coding})
    assert "content-encoding" not in little.headers


def test_streams_are_never_packed(small: httpx.Client) -> None:
    body = {"prompt": "hello world", "max_tokens": 300, "ignore_eos": True, "stream": True}
    answer = small.post(TEXT, json=body, headers={"accept-encoding": "gzip, zstd"})
    assert "content-encoding" not in answer.headers
