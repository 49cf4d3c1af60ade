"""What is kept, for whom, and what makes room: in the memory of a process, in a file of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from openllm.errors import InvalidRequest, NotFound, UnsupportedFeature
from openllm.protocols.openai.responses.shared import SharedStore
from openllm.protocols.openai.responses.store import Answered, Item, Store, Thread, new_id

LARGE = 1 << 30
Make = Callable[[int, int], Store]


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A store of so many records and bytes."""
    return Store if request.param == "memory" else partial(SharedStore, folder=tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[SharedStore, SharedStore]]:
    """Of two processes, as it were."""
    first, second = (SharedStore(3, LARGE, tmp_path / "kept") for _ in range(2))
    yield first, second
    first.close()
    second.close()


def answer(name: str, previous: str | None = None, size: int = 10, owner: str = "") -> Answered:
    item = Item(f"msg_{name}", b"x" * size)
    return Answered(name, owner, b"{}", [item], [], previous)


def test_ids_are_long_and_never_the_same() -> None:
    assert len({new_id("resp") for _ in range(1000)}) == 1000
    assert len(new_id("resp")) > 40


def test_the_number_is_bounded(make: Make) -> None:
    store = make(3, LARGE)
    for at in range(10):
        assert store.put(answer(str(at)))
    assert len(store) == 3
    for at in range(7):
        with pytest.raises(NotFound):
            store.answered("", str(at))
        with pytest.raises(NotFound):
            store.item("", f"msg_{at}", "input")
    assert store.item("", "msg_9", "input").data == b"x" * 10


def test_the_bytes_are_bounded(make: Make) -> None:
    store = make(100, 40_000)
    for at in range(20):
        store.put(answer(str(at), size=8_000))
        assert store.bytes <= 40_000
    assert 2 < len(store) < 6
    assert not store.put(answer("large", size=50_000))
    assert len(store) > 2  # nothing made room for what has none


def test_what_is_forgotten_frees_its_bytes(make: Make) -> None:
    store = make(10, LARGE)
    for _ in range(3):
        store.put(answer("a", size=1_000))  # the same, changed
    store.put(answer("b"))
    store.forget(store.answered("", "a"))
    store.forget(store.answered("", "b"))
    store.forget(answer("never kept"))
    assert (len(store), store.bytes) == (0, 0)


def test_what_a_response_continues_does_not_go_before_it(make: Make) -> None:
    store = make(4, LARGE)
    store.put(answer("a"))
    store.put(answer("b", "a"))
    store.put(answer("other"))
    store.put(answer("c", "b"))
    store.put(answer("new"))
    history = [item.id for item in store.history("", "c", "previous")]
    assert history == ["msg_a", "msg_b", "msg_c"]
    with pytest.raises(NotFound):
        store.answered("", "other")


def test_a_history_with_a_gap_says_what_is_missing(make: Make) -> None:
    store = make(10, LARGE)
    store.put(answer("a"))
    store.put(answer("b", "a"))
    store.forget(store.answered("", "a"))
    with pytest.raises(NotFound, match="'a'"):
        store.history("", "b", "previous")


def test_nobody_sees_what_is_another_s(make: Make) -> None:
    store = make(10, LARGE)
    store.put(answer("a", owner="me"))
    store.put(Thread("t", "me", 0, {}))
    for look in (
        lambda: store.answered("you", "a"),
        lambda: store.thread("you", "t"),
        lambda: store.item("you", "msg_a", "input"),
        lambda: store.history("you", "a", "previous"),
        lambda: store.thread("me", "a"),
        lambda: store.answered("me", "t"),
    ):
        with pytest.raises(NotFound):
            look()
    assert store.answered("me", "a").id == "a"


def test_a_conversation_that_is_too_large_is_refused_and_stays(make: Make) -> None:
    store = make(10, 10_000)
    store.add(Thread("t", "", 0, {}), [Item("a", b"x")])
    with pytest.raises(InvalidRequest, match="max_stored_bytes"):
        store.add(store.thread("", "t"), [Item("b", b"x" * 20_000)])
    assert list(store.thread("", "t").kept) == ["a"]


def test_a_store_of_none_says_so(make: Make) -> None:
    store = make(0, LARGE)
    assert not store.put(answer("a"))
    with pytest.raises(UnsupportedFeature, match="max_stored_responses"):
        store.answered("", "a")


def test_what_one_process_keeps_another_finds(two: tuple[SharedStore, SharedStore]) -> None:
    first, second = two
    first.put(answer("a"))
    second.put(answer("b", "a"))
    assert [item.id for item in first.history("", "b", "previous")] == ["msg_a", "msg_b"]
    assert second.item("", "msg_a", "input").data == b"x" * 10
    second.forget(second.answered("", "a"))
    with pytest.raises(NotFound):
        first.answered("", "a")


def test_both_add_to_a_conversation(two: tuple[SharedStore, SharedStore]) -> None:
    first, second = two
    thread = Thread("t", "", 7, {"for": "me"})
    first.add(thread, [Item("a", b"1")])
    second.add(thread, [Item("b", b"2")])
    found = first.thread("", "t")
    assert list(found.kept) == ["a", "b"]
    assert (found.created, found.metadata) == (7, {"for": "me"})


def test_the_bounds_hold_for_both(two: tuple[SharedStore, SharedStore], tmp_path: Path) -> None:
    first, second = two
    for at in range(6):
        two[at % 2].put(answer(str(at)))
    assert len(first) == len(second) == 3
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "kept").iterdir())
