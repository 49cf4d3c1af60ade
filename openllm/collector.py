"""Python's garbage collector kept out of the way: paused while engines load; what is there then is left alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """No collections inside: what importing torch and transformers makes stays, and each pass would visit all of it.

    It is on again afterwards, unless it was off before.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def set_aside() -> None:
    """Leave all that is there now alone: no collection looks at it any more. For imported libraries, which stay."""
    gc.freeze()


def settle() -> None:
    """Collect what is not set aside, then set aside what is left, so that no collection under load looks at it."""
    gc.collect()
    gc.freeze()
