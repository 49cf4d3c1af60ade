"""Rows, chunks and buckets: every token lands in its own place, whatever the padding."""

from __future__ import annotations

import random

import pytest

from openllm.backends.keras.pool import CHUNK, Pool, Seat, bucket
from tests.backends.keras.fakes import FakeRuntime, next_token


@pytest.mark.parametrize(
    ("size", "shortest", "longest", "expected"),
    [(1, 1, 8, 1), (3, 1, 8, 4), (4, 1, 8, 4), (5, 16, 99, 16), (65, 16, 99, 99), (7, 4, 6, 6)],
)
def test_buckets_are_powers_of_two_within_their_bounds(
    size: int, shortest: int, longest: int, expected: int
) -> None:
    assert bucket(size, shortest, longest) == expected


@pytest.mark.parametrize("max_len", [20, 100, 1000, 1500])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97, 1.0])
def test_a_prompt_comes_through_whole_in_chunks(max_len: int, share: float) -> None:
    size = max(1, int((max_len - 1) * share))
    prompt = [random.Random(size).randrange(1, 64) for _ in range(size)]
    pool, seat = Pool(FakeRuntime(), max_len), Seat(0, list(prompt))
    chunks = 0
    logits = None
    while logits is None:
        logits = pool.prefill(seat, [seat])
        chunks += 1
    assert int(logits.argmax()) == next_token(prompt)
    assert seat.filled == size
    assert chunks == -(-size // CHUNK)


def test_rows_do_not_touch_each_other_while_one_is_half_filled() -> None:
    pool, order = Pool(FakeRuntime(), 2000), random.Random(4)
    long = Seat(1, [order.randrange(1, 64) for _ in range(1300)])
    short = Seat(0, [9, 8, 7])
    seats = [short, long]
    logits = pool.prefill(short, [short])
    assert logits is not None
    short.token_ids.append(int(logits.argmax()))
    done = None
    while done is None:
        done = pool.prefill(long, seats)
        expected = next_token(short.token_ids)
        (row,) = pool.decode([short], seats)
        assert int(row.argmax()) == expected
        short.token_ids.append(expected)
    assert int(done.argmax()) == next_token(long.token_ids)


def test_few_shapes_are_ever_compiled_and_leaving_frees_the_cache() -> None:
    runtime = FakeRuntime()
    pool, seats = Pool(runtime, 3000), []
    for row in range(6):
        seats.append(Seat(row, list(range(1, 40 * (row + 1)))))
        while pool.prefill(seats[-1], seats) is None:
            pass
    assert runtime.shapes <= {(rows, length) for rows in (1, 2, 4, 8) for length in (256, 512)}
    assert pool.capacity == 8 * 256
    pool.clear()
    assert pool.capacity == 0
