"""Figures of a level: by hand, and against vLLM's own from the same times."""

from __future__ import annotations

import random

import pytest

from openllm.cli.bench.drive import Driven
from openllm.cli.bench.figures import Figures, Spread, summed
from openllm.cli.bench.load import Level
from openllm.cli.bench.stream import Exchanged


def drawn(count: int) -> list[Exchanged]:
    """Requests as they could have been."""
    chance = random.Random(7)
    found = []
    for at in range(count):
        sent = 100.0 + at * chance.random()
        gaps = [chance.expovariate(50) for _ in range(chance.randrange(0, 40))]
        first = sent + chance.random()
        found.append(Exchanged(sent, first, first + sum(gaps), gaps, 1 + len(gaps), 128))
    return found


def test_the_figures_are_those_of_the_times() -> None:
    one = Exchanged(10.0, 10.5, 11.5, [0.25, 0.75], tokens=5, prompt_tokens=8)
    two = Exchanged(10.0, 10.1, 14.0, [3.9], tokens=2, prompt_tokens=8, late=0.2)
    bad = Exchanged(10.0, error="Too many requests.")
    driven = [Driven([one, bad], 0.25), Driven([two], 0.5)]
    found = summed(Level(3, 2), driven, {"ttft": 500.0, "tpot": 300.0}, engine_seconds=4.4)
    assert (found.requests, found.completed, found.errors) == (3, 2, {"Too many requests.": 1})
    assert (found.seconds, found.output_tokens_per_second) == (4.0, 7 / 4)
    assert found.total_tokens_per_second == 23 / 4
    assert found.ttft_ms.p50 == pytest.approx(300.0)
    assert found.itl_ms.p50 == pytest.approx(750.0)
    assert found.tpot_ms.mean == pytest.approx((250.0 + 3900.0) / 2)
    assert found.e2e_ms.p99 == pytest.approx(1500 + 0.99 * 2500)
    assert (found.goodput, found.good_share) == (1 / 4, 1 / 3)
    assert found.tokens_per_event == 7 / 5
    assert found.engine_share == pytest.approx(4.4 / 5.5)
    assert found.generator_busy == 0.5
    assert found.late_ms_p99 > 0


def test_a_level_without_answers_has_figures_too() -> None:
    found = summed(Level(1, 1), [Driven([Exchanged(1.0, error="gone")], 0.0)], {})
    assert (found.completed, found.output_tokens_per_second, found.ttft_ms) == (0, 0.0, Spread())
    assert found.goodput is None


@pytest.mark.vllm
def test_the_figures_are_vllms() -> None:
    """The same times, summed up by vLLM's benchmark: its figures within 0.1 %."""
    from vllm.benchmarks.lib.endpoint_request_func import RequestFuncOutput
    from vllm.benchmarks.serve import calculate_metrics

    everything = drawn(50)
    ours = summed(Level(50, 50), [Driven(everything, 0.0)], {"ttft": 400.0, "tpot": 20.0})
    outputs = [
        RequestFuncOutput(
            success=True,
            latency=each.last - each.sent,
            output_tokens=each.tokens,
            ttft=each.first - each.sent,
            itl=each.gaps,
            prompt_len=each.prompt_tokens,
            start_time=each.sent,
        )
        for each in everything
    ]
    limits = {"ttft": 400.0, "tpot": 20.0}
    theirs, _ = calculate_metrics([], outputs, ours.seconds, None, [90, 99], limits)
    assert figures_of(ours) == pytest.approx(
        [
            theirs.output_throughput,
            theirs.total_token_throughput,
            theirs.request_throughput,
            theirs.request_goodput,
            *spread_of(theirs, "ttft"),
            *spread_of(theirs, "itl"),
            *spread_of(theirs, "tpot"),
            *spread_of(theirs, "e2el"),
        ],
        rel=1e-3,
    )


def figures_of(found: Figures) -> list[float]:
    spreads = (found.ttft_ms, found.itl_ms, found.tpot_ms, found.e2e_ms)
    return [
        found.output_tokens_per_second,
        found.total_tokens_per_second,
        found.requests_per_second,
        found.goodput or 0.0,
        *(value for each in spreads for value in (each.mean, each.p50, each.p90, each.p99)),
    ]


def spread_of(theirs: object, name: str) -> list[float]:
    rates = dict(getattr(theirs, f"percentiles_{name}_ms"))
    whole = [getattr(theirs, f"{kind}_{name}_ms") for kind in ("mean", "median")]
    return [*whole, rates[90], rates[99]]
