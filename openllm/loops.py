"""Event loops for callers that have none, or have another one than the engine lives on."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - its own shutdown hook must be older than ours: hooks run newest first
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


class LoopThread:
    """One event loop on a daemon thread, for plain synchronous callers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="openllm-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait; Ctrl+C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(timeout=5)
            if not self._thread.is_alive():
                self.loop.close()


def in_event_loop() -> bool:
    """Whether the caller runs inside an event loop, where waiting would stop it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def at_shutdown(work: Callable[[], object]) -> None:
    """Call `work` when the main thread ends, while threads can still be started.

    `atexit` is too late for that: the executors that an engine's `close` needs are shut down by then. This is the hook
    that concurrent.futures itself uses; it has no public name.
    """
    threading._register_atexit(work)  # type: ignore[attr-defined]  # see above


async def run_on(home: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await `make()` on `home`, from whatever loop the caller is on."""
    if home is asyncio.get_running_loop():
        return await make()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), home))


async def bridge(home: asyncio.AbstractEventLoop, make: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
    """Iterate `make()` on `home` from another loop; closing this iterator closes that one."""
    here = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()

    def post(item: Any) -> None:
        here.call_soon_threadsafe(items.put_nowait, item)

    async def pump() -> None:
        iterator = make()
        try:
            async for item in iterator:
                post(item)
        finally:
            await iterator.aclose()  # type: ignore[attr-defined]  # every iterator bridged here is a generator

    async def report() -> None:
        try:
            await pump()
        except Exception as error:  # noqa: BLE001 - raised again on the caller's loop
            post((_END, error))
        else:
            post((_END, None))

    work = asyncio.run_coroutine_threadsafe(report(), home)
    try:
        while True:
            item = await items.get()
            if isinstance(item, tuple) and item and item[0] is _END:
                if item[1] is not None:
                    raise item[1]
                return
            yield item
    finally:
        work.cancel()
