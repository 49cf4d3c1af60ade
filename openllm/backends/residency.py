"""Which adapters are resident in an engine: loaded on demand, evicted when idle, never changed
under a request.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs

from openllm.backends.lease import Lease
from openllm.errors import AdapterNotFound, Conflict, call
from openllm.types import Running, Sink, TokenDelta, TokenRequest


class Mountable(Protocol):
    """What the residency of adapters needs of a backend."""

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running: ...

    async def mount_adapter(self, name: str, path: Path) -> None: ...

    async def unmount_adapter(self, name: str) -> None: ...


class Residency(Protocol):
    """The adapters that requests may name, as an LLM needs them."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def path(self, name: str) -> Path: ...

    async def add(self, name: str, path: Path) -> None: ...

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running: ...

    async def remove(self, name: str, *, wait: bool = True) -> None: ...


@attrs.define(eq=False)
class _Adapter:
    name: str
    path: Path
    users: int = 0  # requests in flight
    waiters: list[asyncio.Future[None]] = attrs.field(factory=list)  # requests that need it loaded
    last_use: int = 0
    resident: bool = False
    leaving: bool = False  # being evicted: new requests wait until it is loaded again
    removing: bool = False
    loading: asyncio.Task[None] | None = None


class LocalResidency:
    """The adapters of one engine, at most `max_resident` of them loaded (None: all). Lives on one
    event loop.

    A request holds its adapter for as long as it runs; until then the adapter is neither evicted
    nor removed. When all places are taken, the adapter used least recently gives way: at once if
    idle, else as soon as its requests are done, and those that come for it meanwhile wait, so that
    nobody waits for ever.
    """

    def __init__(self, backend: Mountable, max_resident: int | None = None) -> None:
        self._backend = backend
        self._max = max_resident
        self._adapters: dict[str, _Adapter] = {}
        self._turn = asyncio.Lock()  # one load or unload at a time, first come first served
        self._changed = asyncio.Event()
        self._clock = itertools.count(1)

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may name, in the order of adding."""
        return tuple(name for name, adapter in self._adapters.items() if not adapter.removing)

    @property
    def resident(self) -> tuple[str, ...]:
        """Those of `names` that are loaded now."""
        return tuple(name for name, adapter in self._adapters.items() if adapter.resident)

    def path(self, name: str) -> Path:
        """Where the adapter's files are. Errors: AdapterNotFound."""
        return self._find(name).path

    async def add(self, name: str, path: Path) -> None:
        """Make the (checked) adapter in `path` usable as `name`; loads it now if there is a place.

        Errors: Conflict when the name is taken; the backend's own, and then the name is not added.
        """
        if name in self._adapters:
            raise Conflict(
                f"There is an adapter {name!r} already.",
                hint="Remove it first, or choose another name.",
            )
        adapter = self._adapters[name] = _Adapter(name, path, last_use=next(self._clock))
        if self._full():
            return
        loading = self._begin_load(adapter)
        await asyncio.wait((loading,))  # a caller that leaves now does not stop it
        if error := loading.exception():
            self._forget(adapter)
            raise error

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        """`Backend.submit`, once the request's adapter is loaded, which stays until it is over.

        Errors: also AdapterNotFound, and what the backend raises when it cannot load the adapter.
        """
        if request.adapter is None:
            return await self._backend.submit(request, sink)
        adapter = await self._acquire(request.adapter)
        lease = Lease(sink, request.params.n, partial(self._release, adapter))
        return await lease.begin(partial(self._backend.submit, request))

    async def remove(self, name: str, *, wait: bool = True) -> None:
        """Take the adapter away: new requests for it fail at once, running ones finish first.

        Errors: AdapterNotFound; Conflict when it is in use and `wait` is false. If cancelled, the
        adapter stays.
        """
        adapter = self._find(name)
        if not wait and _is_wanted(adapter):
            raise Conflict(
                f"The adapter {name!r} is in use.", hint="Try again when its requests are done."
            )
        adapter.removing = True
        try:
            await self._until(lambda: not _is_wanted(adapter))
            async with self._turn:
                if adapter.resident:
                    await self._unload(adapter)
        except BaseException:
            adapter.removing = False
            raise
        self._forget(adapter)

    # What `submit` does
    # ------------------------------------------------------------

    async def _acquire(self, name: str) -> _Adapter:
        adapter = self._find(name)
        if adapter.resident and not adapter.leaving:
            self._grant(adapter)
            return adapter
        waiter = asyncio.get_running_loop().create_future()
        adapter.waiters.append(waiter)
        self._begin_load(adapter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in adapter.waiters:
                adapter.waiters.remove(waiter)
                self._notify()
            elif not waiter.cancelled() and waiter.exception() is None:
                self._release(adapter)  # granted and cancelled in the same moment
            raise
        return adapter

    def _grant(self, adapter: _Adapter) -> None:
        adapter.users += 1
        adapter.last_use = next(self._clock)

    def _release(self, adapter: _Adapter) -> None:
        adapter.users -= 1
        adapter.last_use = next(self._clock)
        self._notify()

    def _begin_load(self, adapter: _Adapter) -> asyncio.Task[None]:
        """The one task that loads `adapter`, begun if it is not under way."""
        if adapter.loading is None:
            adapter.loading = asyncio.create_task(self._load(adapter))
            adapter.loading.add_done_callback(lambda task: self._loaded(adapter, task))
        return adapter.loading

    async def _load(self, adapter: _Adapter) -> None:
        async with self._turn:
            if not adapter.resident:  # else it was to give way, and another one did
                while self._full():
                    await self._evict()
                await self._backend.mount_adapter(adapter.name, adapter.path)
                adapter.resident = True
            # Before anybody else has a turn: who waited must not see it evicted again.
            for waiter in adapter.waiters:
                if not waiter.done():
                    self._grant(adapter)
                    waiter.set_result(None)
            adapter.waiters.clear()

    def _loaded(self, adapter: _Adapter, task: asyncio.Task[None]) -> None:
        """The load has ended: tell those who wait still that it failed, or begin again for those
        who came too late.
        """
        adapter.loading = None
        waiters = [waiter for waiter in adapter.waiters if not waiter.done()]
        error = None if task.cancelled() else task.exception()
        if waiters and error is None and not task.cancelled():
            self._begin_load(adapter)
        else:
            adapter.waiters.clear()
            for waiter in waiters:
                waiter.cancel() if error is None else waiter.set_exception(error)
        self._notify()

    async def _evict(self) -> None:
        victim = min(
            filter(_is_resident, self._adapters.values()),
            key=lambda one: (one.users > 0, one.last_use),
        )
        victim.leaving = True
        try:
            await self._until(lambda: any(map(_is_idle, self._adapters.values())))
            idle = min(filter(_is_idle, self._adapters.values()), key=lambda one: one.last_use)
            await self._unload(idle)
        finally:
            victim.leaving = False

    async def _unload(self, adapter: _Adapter) -> None:
        """Nobody may enter between the last look at `users` and the end of unmounting."""
        adapter.resident = False
        await self._backend.unmount_adapter(adapter.name)

    # Small parts
    # ------------------------------------------------------------

    def _full(self) -> bool:
        return (
            self._max is not None and sum(map(_is_resident, self._adapters.values())) >= self._max
        )

    def _find(self, name: str) -> _Adapter:
        adapter = self._adapters.get(name)
        if adapter is None or adapter.removing:
            raise _missing(name)
        return adapter

    def _forget(self, adapter: _Adapter) -> None:
        if self._adapters.get(adapter.name) is adapter:
            del self._adapters[adapter.name]
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


def _is_resident(adapter: _Adapter) -> bool:
    return adapter.resident


def _is_idle(adapter: _Adapter) -> bool:
    return adapter.resident and not adapter.users


def _is_wanted(adapter: _Adapter) -> bool:
    return bool(adapter.users or adapter.waiters or adapter.loading)


def _missing(name: str) -> AdapterNotFound:
    return AdapterNotFound(
        f"There is no adapter {name!r}.",
        hint=f"{call('LLM.adapters')} lists them.",
        param="adapter",
    )
