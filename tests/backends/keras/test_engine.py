"""The engine's thread over a fake model: joining, leaving, bounds, failures. No framework is
needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from openllm.backends.base import join
from openllm.backends.keras.engine import Capacity, KerasEngine
from openllm.backends.keras.schedule import Choice
from openllm.backends.stream import Inbox
from openllm.errors import EngineDead, Overloaded
from openllm.types import SamplingParams, TokenDelta, TokenRequest
from tests.backends.keras.fakes import FakeRuntime, greedy

EOS = 0
Make = Callable[..., KerasEngine]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    engines: list[KerasEngine] = []

    def start(runtime: FakeRuntime | None = None, **limits: Any) -> KerasEngine:
        merged = {"max_len": 1000, "max_rows": 4, "max_queue": 100, "end_tokens": (EOS,), **limits}
        engines.append(
            KerasEngine(runtime or FakeRuntime(), Capacity(**merged), asyncio.get_running_loop())
        )
        return engines[-1]

    yield start
    for engine in engines:
        await asyncio.to_thread(engine.close)


def submit(
    engine: KerasEngine, prompt: list[int], **params: Any
) -> tuple[Inbox[TokenDelta], list[Choice]]:
    asked = SamplingParams(**{"temperature": 0, "max_tokens": 10, **params})
    inbox = Inbox(join)
    return inbox, engine.submit(TokenRequest("request", prompt, asked), inbox)


async def read(inbox: Inbox[TokenDelta], choices: list[Choice]) -> list[TokenDelta]:
    deltas, left = [], len(choices)
    while left:
        deltas.append(await inbox.get())
        left -= deltas[-1].finish_reason is not None
    return deltas


async def ask(engine: KerasEngine, prompt: list[int], **params: Any) -> list[int]:
    inbox, choices = submit(engine, prompt, **params)
    deltas = await read(inbox, choices)
    return [token for delta in deltas for token in delta.token_ids]


async def idle(engine: KerasEngine) -> bool:
    for _ in range(200):
        if engine.stats().running == engine.stats().waiting == 0:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_requests_of_all_sizes_join_and_leave_and_each_gets_its_own_answer(
    make: Make,
) -> None:
    engine = make()
    prompts = [[1 + at, *range(1, 5 + 61 * (at % 9))] for at in range(30)]

    async def late(at: int) -> list[int]:
        await asyncio.sleep(0.002 * (at % 7))
        return await ask(engine, prompts[at], max_tokens=3 + at)

    answers = await asyncio.gather(*(late(at) for at in range(30)))
    assert answers == [greedy(prompt, 3 + at) for at, prompt in enumerate(prompts)]
    assert await idle(engine)


async def test_every_choice_ends_once_and_all_of_them_are_seeded_apart(make: Make) -> None:
    engine = make()
    deltas = await read(
        *submit(engine, [5], n=6, temperature=2.0, top_p=1.0, logit_bias={7: 0.5}, seed=9)
    )
    assert sorted(delta.index for delta in deltas if delta.finish_reason) == list(range(6))
    again = await read(
        *submit(engine, [5], n=6, temperature=2.0, top_p=1.0, logit_bias={7: 0.5}, seed=9)
    )

    def tokens(found: list[TokenDelta], index: int) -> list[int]:
        return [token for delta in found if delta.index == index for token in delta.token_ids]

    assert [tokens(deltas, at) for at in range(6)] == [tokens(again, at) for at in range(6)]
    assert len({tuple(tokens(deltas, at)) for at in range(6)}) > 1


async def test_the_engines_seed_fixes_requests_without_one(make: Make) -> None:
    params = {"temperature": 2.0, "logit_bias": dict.fromkeys(range(1, 40), 5.0)}
    first, second = make(seed=1), make(seed=1)
    assert await ask(first, [5], **params) == await ask(second, [5], **params)
    assert await ask(first, [5], **params) == await ask(second, [5], **params)


@pytest.mark.parametrize(
    ("params", "size", "reason", "stop"),
    [
        ({"logit_bias": {EOS: 100.0}}, 1, "stop", None),
        ({"logit_bias": {EOS: 100.0}, "min_tokens": 3}, 4, "stop", None),
        ({"logit_bias": {EOS: 100.0}, "ignore_eos": True}, 10, "length", None),
        ({"logit_bias": {9: 100.0}, "stop_token_ids": (9,)}, 1, "stop", 9),
        ({"logit_bias": {9: 100.0}, "stop_token_ids": (9,), "min_tokens": 2}, 3, "stop", 9),
        ({"max_tokens": 1}, 1, "length", None),
    ],
)
async def test_why_an_answer_ends(
    make: Make, params: dict[str, Any], size: int, reason: str, stop: int | None
) -> None:
    deltas = await read(*submit(make(), [3, 4], **params))
    assert sum(len(delta.token_ids) for delta in deltas) == size
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == (reason, stop)
    assert all(delta.finish_reason is None for delta in deltas[:-1])


async def test_an_answer_never_runs_past_the_context(make: Make) -> None:
    engine = make(max_len=50)
    assert await ask(engine, [1] * 45, max_tokens=5) == greedy([1] * 45, 5)
    assert len(await ask(engine, [1] * 45, max_tokens=500)) == 5


async def test_a_full_queue_refuses_and_the_rest_finishes(make: Make) -> None:
    engine = make(max_rows=2, max_queue=3)
    accepted = [submit(engine, [2, 3], max_tokens=300) for _ in range(5)]
    for _ in range(4):
        with pytest.raises(Overloaded) as caught:
            submit(engine, [2, 3])
        assert caught.value.retry_after >= 1
    for inbox, choices in accepted:
        assert (await read(inbox, choices))[-1].finish_reason == "length"


async def test_a_dropped_choice_frees_its_row_for_one_that_waits(make: Make) -> None:
    engine = make(max_rows=1, max_len=4000)
    endless, choices = submit(engine, [2], max_tokens=3900)
    await endless.get()
    waiting = asyncio.create_task(ask(engine, [6, 7], max_tokens=4))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    engine.give_up(choices)
    assert await waiting == greedy([6, 7], 4)
    assert await idle(engine)


async def test_one_choice_can_be_dropped_and_the_others_go_on(make: Make) -> None:
    engine = make()
    inbox, choices = submit(engine, [2], n=3, max_tokens=400)
    engine.give_up([choices[1]])
    deltas = await read(inbox, choices[:2])
    assert sorted(delta.index for delta in deltas if delta.finish_reason) == [0, 2]


async def test_a_failed_step_ends_its_requests_with_an_error_and_the_engine_goes_on(
    make: Make,
) -> None:
    engine = make(FakeRuntime(fail_at=(3,)))
    ends = [delta for delta in await read(*submit(engine, [2], n=2)) if delta.finish_reason]
    assert [end.finish_reason for end in ends] == ["error", "error"]
    assert all("out of memory" in (end.error or "") for end in ends)
    assert await ask(engine, [4, 5]) == greedy([4, 5], 10)
    assert engine.failure is None


async def test_logits_that_are_no_numbers_end_that_choice_alone(make: Make) -> None:
    runtime = FakeRuntime()
    runtime.nan_after = greedy([2], 3)[-1]
    engine = make(runtime)
    bad, good = submit(engine, [2], max_tokens=6), submit(engine, [11, 5], max_tokens=3)
    assert runtime.nan_after not in greedy([11, 5], 2)
    assert (await read(*bad))[-1].finish_reason == "error"
    assert (await read(*good))[-1].finish_reason == "length"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_defect_kills_the_engine_and_every_reader_hears_of_it(make: Make) -> None:
    engine = make(FakeRuntime(fail_at=(2,), error=AttributeError("no such layer")), max_rows=1)
    with pytest.raises(EngineDead, match="no such layer"):  # one choice runs, the other waits
        await read(*submit(engine, [2], n=2))
    assert "no such layer" in (engine.failure or "")
    with pytest.raises(EngineDead):
        submit(engine, [4])


async def test_closing_ends_what_is_live_as_cancelled_and_closing_twice_is_fine(make: Make) -> None:
    engine = make(max_rows=1, max_len=4000)
    running, waiting = submit(engine, [2], max_tokens=3900), submit(engine, [3])
    await running[0].get()
    await asyncio.to_thread(engine.close)
    await asyncio.to_thread(engine.close)
    assert (await read(*running))[-1].finish_reason == "cancelled"
    assert (await read(*waiting))[-1].finish_reason == "cancelled"
    assert engine.failure is None
    with pytest.raises(EngineDead):
        submit(engine, [4])


async def test_stats_count_rows_and_cache(make: Make) -> None:
    engine = make(max_rows=1, max_len=4000)
    inbox, _ = submit(engine, [2] * 100, max_tokens=3000)
    submit(engine, [3])
    await inbox.get()
    stats = engine.stats()
    assert (stats.running, stats.waiting) == (1, 1)
    assert 100 / 4000 <= stats.cache_usage <= 1
