"""Events out of bytes: the same ones however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.client.sse import EventReader

TEXTS = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=12
)
BREAKS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def read(*pieces: bytes) -> list[str]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata:b\n\n", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b": comment\n\nevent: ping\nid: 7\n\ndata\n\n", [""]),
        (b"data:  two spaces\n\n", [" two spaces"]),
        (b"data: whole\n\ndata: cut off\n", ["whole"]),
        (b"data: a\r\rdata: b\r\n\r\n", ["a", "b"]),
        ("data: \u2028ü\u0085\n\n".encode(), ["\u2028ü\u0085"]),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[str]) -> None:
    assert read(stream) == events


@given(st.lists(TEXTS, max_size=5), BREAKS, BREAKS, st.data())
def test_cuts_change_nothing(
    texts: list[str], inner: bytes, outer: bytes, data: st.DataObject
) -> None:
    stream = b"".join(b": hm" + inner + b"data: " + text.encode() + inner + outer for text in texts)
    ends = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    bounds = [0, *ends, len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(bounds)]
    assert read(*pieces) == read(stream)
    assert read(*[stream[at : at + 1] for at in range(len(stream))]) == read(stream)
    if (inner, outer) != (b"\r", b"\n"):  # there the two are one line break
        assert read(stream) == texts
