"""That the end of BentoML's workers is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from openllm.bento.supervision import Ends


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def wait_for_end(child: subprocess.Popen[bytes]) -> None:
    """Without burying it."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_the_end_of_a_child_is_told_once(child: subprocess.Popen[bytes]) -> None:
    ends = Ends()
    assert not ends.any_among({child.pid})
    child.kill()
    wait_for_end(child)
    assert [ends.any_among({child.pid}) for _ in range(2)] == [True, False]
    child.wait()
    assert [ends.any_among(pids) for pids in ({child.pid}, set[int]())] == [False, False]


def test_so_is_that_of_one_who_is_buried_before_the_next_look(
    child: subprocess.Popen[bytes],
) -> None:
    ends = Ends()
    assert not ends.any_among({child.pid})
    child.kill()
    child.wait()
    assert [ends.any_among(set()) for _ in range(2)] == [True, False]


def test_and_of_one_that_ends_before_its_first(child: subprocess.Popen[bytes]) -> None:
    ends = Ends()
    child.kill()
    wait_for_end(child)
    assert [ends.any_among({child.pid}) for _ in range(2)] == [True, False]
