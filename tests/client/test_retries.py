"""How long a client waits before it asks again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.client.retries import Retries, seconds_of
from openllm.errors import ConfigurationError


@given(st.integers(0, 8), st.floats(0, 10), st.floats(0, 100))
def test_the_wait_doubles_within_its_bounds(done: int, first: float, longest: float) -> None:
    pause = Retries(count=9, first=first, longest=longest).pause(done, None)
    most = min(longest, first * 2**done)
    assert pause is not None
    assert most / 2 <= pause <= most


def test_there_are_so_many_and_no_more() -> None:
    assert Retries(count=1).pause(1, None) is None
    assert Retries(count=0).pause(0, "1") is None


def test_the_server_says_how_long() -> None:
    assert Retries().pause(0, "7") == 7
    assert Retries(longest=5).pause(0, "7") is None
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (Retries().pause(0, soon) or 0) <= 30


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-3", 0),
        ("1.5", 1.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_a_header_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="negative"):
        Retries(count=-1)
