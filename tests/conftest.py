"""What all tests have in common: no limit per example of a property test, and the slow files
first.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # the environments of other suites have no hypothesis
    from hypothesis import settings

    # hypothesis' own limit, 200 ms, tells of the machine alone
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")

HERE = Path(__file__).parent
# The longest first, so that no process of several is left with one of them at the end.
SLOW = ("container", "test_train_demo.py", "bento", "backends/vllm", "test_walks.py", "remote")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(HERE).as_posix()
        found = [at for at, start in enumerate(SLOW) if path.startswith(start)]
        return min(found, default=len(SLOW))

    items.sort(key=place)
