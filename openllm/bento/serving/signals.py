"""The signals that ask a process to end, answered otherwise for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ENDINGS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def answering(
    handler: Callable[[int, FrameType | None], object], numbers: Sequence[int] = ENDINGS
) -> Iterator[None]:
    """`handler` answers the signals `numbers` inside; afterwards who did before. In the main thread
    only.
    """
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
