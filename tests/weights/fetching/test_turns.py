"""One process works, the others wait and show how far it is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from openllm.weights.fetching.turns import turn


def test_who_waits_is_told_how_far_the_other_is(tmp_path: Path, caplog) -> None:
    lock = tmp_path / ".locks" / "one"
    caplog.set_level("INFO")
    order = []

    def other() -> None:
        with turn(lock, "org/model"):
            order.append("other")

    with turn(lock, "org/model") as mine:
        mine.share(3 * 2**20, 8 * 2**20)
        waits = threading.Thread(target=other)
        waits.start()
        while len(caplog.messages) < 2:  # the test's own limit of time ends this
            waits.join(0.02)
        order.append("mine")
    waits.join()
    assert order == ["mine", "other"]
    assert caplog.messages == [
        "Another process fetches org/model: waiting for it.",
        "Fetching org/model, in another process: 3.0 MiB of 8.0 MiB.",
    ]
    with turn(lock, "org/model"):
        assert lock.read_bytes() == b""


def test_where_nothing_can_be_written_all_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with turn(tmp_path / "file" / "lock", "x") as mine:
        mine.share(1, 2)


def test_the_turn_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), turn(tmp_path / "lock", "x"):
        raise ValueError("no")
    with turn(tmp_path / "lock", "x"):
        pass
