"""Whether an engine's process is up, or has been, for one that has no event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from openllm.errors import OpenLLMError
from openllm.remote.backend import RETRY_SECONDS
from openllm.remote.client import connect


def say_up(address: Path) -> None:
    """Note that the engine that listens at `address` is up, for the process that has started it."""
    _mark(address).touch()


def has_come_up(address: Path) -> bool:
    """Whether the engine that was started last at `address` has been up."""
    return _mark(address).exists()


def forget_up(address: Path) -> None:
    """Another engine is being started at `address`."""
    _mark(address).unlink(missing_ok=True)


def _mark(address: Path) -> Path:
    return address.with_suffix(".up")


def wait_up(address: Path, seconds: float) -> str | None:
    """Block until the engine that listens at `address`, or will, is up; else why it is not."""
    return asyncio.run(_wait_up(address, seconds))


async def _wait_up(address: Path, seconds: float) -> str | None:
    try:
        async with asyncio.timeout(seconds):
            while (link := await connect(address, bytes)) is None:  # noqa: ASYNC110  has no event
                await asyncio.sleep(RETRY_SECONDS)
            await link.greeted()
            link.hang_up()
            return None
    except TimeoutError:
        return f"not within {seconds:g} s"
    except OpenLLMError as error:
        return str(error)
