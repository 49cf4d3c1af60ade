"""Levels of load: what a command line means, and when the requests of an open loop come."""

from __future__ import annotations

import json
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.cli.bench.load import Level, LoadRequest, ServerUnderLoad, read_counts, read_rates
from openllm.cli.bench.processes import share_out
from openllm.cli.bench.run import read_levels
from openllm.errors import ConfigurationError

SERVER = ServerUnderLoad("https://example.com/llm", "secret", "demo", chat=False, fields={"n": 1})


def test_streams_and_rates_are_read() -> None:
    assert read_counts("8") == [8]
    assert read_counts("1-12") == [1, 2, 4, 8, 12]
    assert read_counts("1, 4,4,16") == [1, 4, 16]
    assert read_rates("0.5,2,inf") == [0.5, 2.0, float("inf")]


@pytest.mark.parametrize("text", ["", "0", "4-2", "two", "1,,2", "-3"])
def test_other_lists_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no list"):
        read_counts(text)
    with pytest.raises(ConfigurationError, match="no list"):
        read_rates(text.replace("4-2", "nan"))


def test_levels_have_as_many_requests_as_they_need() -> None:
    closed = read_levels("1,8", None, None, 1.0)
    assert [(level.requests, level.streams) for level in closed] == [(8, 1), (32, 8)]
    by_rate = read_levels("16", "1,50", None, 1.0)
    assert [(level.requests, level.streams, level.rate) for level in by_rate] == [
        (20, 16, 1.0),
        (500, 16, 50.0),
    ]
    assert read_levels(None, None, 5, 1.0)[0].requests == 5


@given(
    st.floats(min_value=0.1, max_value=1000),
    st.floats(min_value=0.05, max_value=100),
    st.integers(min_value=2, max_value=200),
    st.integers(),
)
def test_an_open_loop_comes_at_its_rate(
    rate: float, burstiness: float, requests: int, seed: int
) -> None:
    level = Level(requests, None, rate, burstiness)
    found = level.arrivals(seed)
    assert found is not None
    assert (len(found), found[0]) == (requests, 0.0)
    assert found == sorted(found) == level.arrivals(seed)
    assert found[-1] == pytest.approx((requests - 1) / rate) or found[-1] == 0.0


def test_low_burstiness_comes_in_bursts() -> None:
    def spread(burstiness: float) -> float:
        times = Level(2000, None, 10.0, burstiness).arrivals(0) or []
        gaps = [two - one for one, two in pairwise(times)]
        return statistics.stdev(gaps) / statistics.mean(gaps)

    assert spread(1.0) == pytest.approx(1.0, rel=0.1)  # a Poisson process
    assert spread(0.25) == pytest.approx(2.0, rel=0.1)
    assert spread(100.0) == pytest.approx(0.1, rel=0.1)


def test_all_at_once_is_no_wait() -> None:
    assert Level(3, None, float("inf")).arrivals(0) == [0.0, 0.0, 0.0]


def test_a_request_has_what_the_server_needs() -> None:
    head, _, body = SERVER.request(LoadRequest("häuser", 9)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /llm/v1/completions HTTP/1.1"
    assert {"Host: example.com", "Authorization: Bearer secret"} < set(lines)
    assert f"Content-Length: {len(body)}" in lines
    said = json.loads(body)
    assert (said["prompt"], said["max_tokens"], said["n"]) == ("häuser", 9, 1)
    assert SERVER.address == ("example.com", 443, True)


@pytest.mark.parametrize(
    ("streams", "processes", "count"), [(8, None, 1), (130, None, 3), (3, 8, 3)]
)
def test_work_is_dealt_out_whole(streams: int, processes: int | None, count: int) -> None:
    asked = [LoadRequest(str(at), 1) for at in range(200)]
    level = Level(len(asked), streams)
    work = share_out(SERVER, level, asked, seed=0, processes=processes, patience=1.0)
    assert len(work) == count
    assert sum(share.streams or 0 for share in work) == streams
    assert sorted(text for share in work for text in share.requests) == sorted(
        SERVER.request(each) for each in asked
    )
