"""The garbage collector is off while engines load, on afterwards, and leaves alone what was there then."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import pytest

from openllm.collector import collection_paused, set_aside, settle


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_it_is_off_inside_and_on_again_after_an_error() -> None:
    with contextlib.suppress(ValueError), collection_paused():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()


def test_it_stays_off_where_it_was() -> None:
    gc.disable()
    with collection_paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_two_that_overlap_leave_it_on() -> None:
    first, second = collection_paused(), collection_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_garbage_that_came_after_what_is_set_aside_is_collected() -> None:
    set_aside()
    before = gc.get_freeze_count()
    assert before > 0
    loop: list[object] = []
    loop.append(loop)
    del loop
    settle()
    assert gc.get_freeze_count() > 0
    assert gc.collect() == 0
