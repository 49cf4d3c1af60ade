"""Event loops for callers that have none, or have another one than the engine lives on."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from openllm.errors import EngineDead

T = TypeVar("T")
_END = object()
WATCH_SECONDS = 1.0  # between two looks at whether another loop still runs


class LoopThread:
    """One event loop on a daemon thread, for plain synchronous callers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="openllm-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def is_current(self) -> bool:
        """Whether the caller is on this thread, where waiting for it would never end."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait; Ctrl+C cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """The items as they come; closing the iterator, or leaving its loop, closes the
        generator.
        """

        async def step() -> Any:
            return await anext(items, _END)

        try:
            while (item := self.run(step())) is not _END:
                yield item
        finally:
            self.run(items.aclose())

    def stop(self) -> None:
        """End the loop, and wait for its thread."""
        if self.loop.is_closed():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_current():
            self._thread.join(timeout=5)
            if not self._thread.is_alive():
                self.loop.close()


async def together(works: Sequence[Awaitable[T]]) -> list[T]:
    """The results, in order. Errors: the first one; the others are cancelled then."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def in_event_loop() -> bool:
    """Whether the caller runs inside an event loop, where waiting would stop it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def at_shutdown(work: Callable[[], object]) -> None:
    """Call `work` when the main thread ends, while threads can still be started.

    `atexit` is too late for that: the executors that an engine's `close` needs are shut down by
    then. This is the hook that concurrent.futures itself uses; it has no public name.
    """
    threading._register_atexit(work)  # type: ignore[attr-defined]  # see above


async def run_on(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await `make()` on `loop`, from whatever loop the caller is on. Errors: EngineDead when `loop`
    ends first.
    """
    if loop is asyncio.get_running_loop():
        return await make()
    remote = _submit(loop, make())
    future = asyncio.wrap_future(remote)
    try:
        while not (await asyncio.wait({future}, timeout=WATCH_SECONDS))[0]:
            if loop.is_closed():
                raise _gone()
        if future.cancelled():  # by the end of `loop`: nobody else could
            raise _gone()
        return future.result()
    except RuntimeError:
        if await _ends_soon(loop):
            raise _gone() from None
        raise
    finally:
        remote.cancel()


async def _ends_soon(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` is being torn down: it lends no threads any more, and whoever asked for one
    got a RuntimeError.
    """
    end = time.monotonic() + WATCH_SECONDS
    # another loop's end is no event here
    while not loop.is_closed() and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return loop.is_closed()


async def lends_threads(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` can still do what closing an engine takes; a loop that is being torn down
    cannot.
    """
    try:
        await run_on(loop, lambda: asyncio.to_thread(bool))
    except EngineDead:
        return False
    return True


def _submit(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]
) -> concurrent.futures.Future[T]:
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise _gone() from None


def _gone() -> EngineDead:
    return EngineDead(
        "The event loop that this LLM was started on has ended.",
        hint="Where several loops use one LLM, start it first with llm.run(llm.start()).",
    )


async def bridge(
    loop: asyncio.AbstractEventLoop, make: Callable[[], AsyncGenerator[T, None]]
) -> AsyncGenerator[T, None]:
    """Iterate `make()` on `loop` from another loop; closing this iterator closes that one.

    Errors: EngineDead when `loop` ends before the iterator does.
    """
    crossing = _Crossing(loop)
    crossing.watch()
    work = _submit(loop, crossing.pump(make))
    try:
        while True:
            item = await crossing.items.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        crossing.close()
        work.cancel()


class _End:
    """What follows the last item."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Crossing:
    """Items on their way from one loop to the one it is made on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self._there = loop
        self._here = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    async def pump(self, make: Callable[[], AsyncGenerator[Any, None]]) -> None:
        """On the other loop: post each item, then the end."""
        end: Exception | None = None
        try:
            async with contextlib.aclosing(make()) as iterator:
                async for item in iterator:
                    self._post(item)
        except asyncio.CancelledError:
            end = _gone()
            raise
        except Exception as error:  # noqa: BLE001 - raised again on the caller's loop
            end = error
        finally:
            with contextlib.suppress(RuntimeError):  # the caller's loop has ended
                self._post(_End(end))

    def _post(self, item: Any) -> None:
        self._here.call_soon_threadsafe(self.items.put_nowait, item)

    def watch(self) -> None:
        """Look now and then whether the other loop is still there."""
        if self._there.is_closed():
            self.items.put_nowait(_End(_gone()))
        else:
            self._timer = self._here.call_later(WATCH_SECONDS, self.watch)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
