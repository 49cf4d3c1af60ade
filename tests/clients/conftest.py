"""The servers that all clients are tried against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import servers


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """The URL of `openllm start demo`."""
    with servers.new_home() as home, servers.demo(Path(home)) as url:
        yield url


@pytest.fixture(scope="session")
def writer() -> Iterator[servers.Writer]:
    """A server whose model writes what a test tells it to."""
    with servers.new_home() as home, servers.writer(Path(home)) as found:
        yield found
