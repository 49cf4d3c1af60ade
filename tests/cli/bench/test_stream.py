"""One streamed answer, read off bytes that are cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openllm.cli.bench.stream import Exchanged, StreamReader


def chunked(*events: dict[str, Any] | str, end: bool = True) -> bytes:
    """A streamed answer of these events, each a chunk."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b""
    for event in [*events, *(["[DONE]"] if end else [])]:
        text = event if isinstance(event, str) else json.dumps(event)
        piece = f"data: {text}\n\n".encode()
        body += b"%x\r\n%b\r\n" % (len(piece), piece)
    return head + body + b"0\r\n\r\n"


def text(said: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": said, "finish_reason": None}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
SAID = {"choices": [{"index": 0, "delta": {"content": "é"}}]}
THOUGHT = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}


def read(data: bytes, cuts: list[int]) -> StreamReader:
    """The reader after `data`, which came cut at these places, one a second."""
    reader = StreamReader(Exchanged(sent=0.0))
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts} - {0, len(data)}), len(data)]
    for second, (begin, end) in enumerate(pairwise(places), 1):
        reader.feed(data[begin:end], float(second))
    return reader


@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_an_answer_is_the_same_wherever_its_bytes_are_cut(cuts: list[int]) -> None:
    reader = read(chunked(text("a"), text("b"), text(""), USAGE), cuts)
    found = reader.exchanged
    assert (reader.complete, reader.keeps_alive, found.error) == (True, True, "")
    assert (found.tokens, found.prompt_tokens, len(found.gaps)) == (3, 7, 2)
    assert 0 < found.first <= found.last
    assert abs(found.last - found.first - sum(found.gaps)) < 1e-9


def test_the_event_that_only_names_the_role_is_no_first_token() -> None:
    data = chunked(ROLE, THOUGHT, SAID, USAGE)
    at = data.index(b"reasoning_content")
    found = read(data, [at]).exchanged
    assert (found.first, found.gaps) == (2.0, [0.0])


def test_tokens_are_counted_by_events_where_the_server_does_not() -> None:
    assert read(chunked(text("a"), text("b")), []).exchanged.tokens == 2


def test_what_is_no_answer_is_an_error() -> None:
    body = json.dumps({"error": {"message": "Too many requests.", "code": "rate_limited"}})
    refused = f"HTTP/1.1 429 Too Many\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    assert read(refused.encode(), [20]).exchanged.error == "Too many requests."
    midst = chunked(text("a"), {"error": {"message": "The engine is gone."}}, end=False)
    assert read(midst, []).exchanged.error == "The engine is gone."
    assert "broke off" in read(chunked(text("a"), end=False), []).exchanged.error
    assert read(chunked(), []).exchanged.error == "The answer has no text."
    assert "expected" in read(chunked('"choices"'), []).exchanged.error
