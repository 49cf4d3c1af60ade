"""RunnerBackend: an engine in another process as a `Backend` like any other."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from openllm.backends.base import Backend, BackendInfo, Embeddings, EngineStats, Logits
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import AdapterNotFound, EngineDead, OpenLLMError, Overloaded, call
from openllm.facts import Facts, facts_of
from openllm.remote.client import Connection, connect
from openllm.remote.frames import Ask, Cancel, Classify, Embed, Mount, Unmount
from openllm.types import EncodedText, Running, Sink, TokenDelta, TokenRequest

CONNECT_SECONDS = 180.0  # for the engine's process to import what it needs and listen
RETRY_SECONDS = 0.05
MOST_WAITING = 64 * 1024**2  # bytes of requests that the engine's process has not read yet
RESTART = "Restart the service."


def not_started() -> EngineDead:
    return EngineDead("The engine has not been started, or was closed.", hint="Start it first.")


class SharedBackend(Backend):
    """What is in processes of its own and used by several others, which tell each other what they
    have counted, and share its adapters.
    """

    facts = Facts(
        name="runner",
        title="an engine in another process",
        tasks=("generate", "embed", "classify"),
        adapters=True,
    )
    elsewhere = True

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, settings)
        # What this process tells another one that collects reports.
        self.report: Callable[[], bytes] = bytes

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return None

    @property
    @abc.abstractmethod
    def engine(self) -> str:
        """The name of the backend in the other process."""

    @property
    def follows_structures(self) -> bool:
        return facts_of(self.engine).structures

    @property
    @abc.abstractmethod
    def users(self) -> int:
        """Processes that use the engine, this one among them."""

    @property
    @abc.abstractmethod
    def most_users(self) -> int:
        """The most that there have been at once, since this process is one of them."""

    @abc.abstractmethod
    async def reports(self) -> list[bytes]:
        """What `report` says in each other process that uses this engine. Errors: Overloaded when
        one is too slow.
        """

    # Adapters: the engine's process decides which are resident, for all its users.

    def make_residency(self) -> SharedResidency:
        return SharedResidency(self)

    @property
    @abc.abstractmethod
    def adapters(self) -> Mapping[str, Path]:
        """Where the files of each adapter are that requests can name."""

    @abc.abstractmethod
    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None: ...


class RunnerBackend(SharedBackend):
    """Talks to the engine that listens at `address`. Closing it leaves that engine alone."""

    def __init__(
        self, spec: LLMSpec, weights_dir: Path, address: Path, settings: Settings | None = None
    ) -> None:
        super().__init__(spec, weights_dir, settings)
        self.address = address
        # Called when the engine tells how it is, and when it is gone. Set before `start`.
        self.noticed: Callable[[], None] = lambda: None
        self._link: Connection | None = None

    async def start(self) -> None:
        """Connect, and wait until the engine is up. Errors: EngineDead, and what kept the engine
        from starting.
        """
        if self._link is None:
            link = await self._connect()
            await link.greeted()
            self._link = link

    async def _connect(self) -> Connection:
        end = time.monotonic() + CONNECT_SECONDS
        while (link := await connect(self.address, self._tell, self.noticed)) is None:
            self._still_coming(time.monotonic() < end)
            await asyncio.sleep(RETRY_SECONDS)
        return link

    def _tell(self) -> bytes:
        return self.report()

    def _still_coming(self, in_time: bool) -> None:
        """Errors: EngineDead when there is nothing to wait for any more."""
        if not in_time:
            raise EngineDead(f"No engine listens at {self.address}.", hint=RESTART)

    def _running(self) -> Connection:
        if self._link is None:
            raise not_started()
        if self._link.failure is not None:
            raise EngineDead(f"The engine has stopped: {self._link.failure}.", hint=RESTART)
        return self._link

    @property
    def info(self) -> BackendInfo:
        if self._link is None:
            raise not_started()
        return self._link.info

    @property
    def engine(self) -> str:
        return self._running().engine

    @property
    def reason(self) -> str | None:
        return self._link.reason if self._link is not None and self._link.reason else None

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        link = self._running()
        if link.waiting_bytes > MOST_WAITING:
            raise Overloaded(
                "The engine does not keep up with the requests.", hint="Try again later."
            )
        if request.images is not None:  # made from the files again, which are far smaller
            request = attrs.evolve(request, images=attrs.evolve(request.images, features=None))
        return link.submit(request, sink)

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        link = self._running()
        number = link.numbers.new()
        asked = Embed(number, [list(prompt) for prompt in prompts], pooling, skip)
        return await _vectors(link, number, asked)

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        link = self._running()
        number = link.numbers.new()
        found = await _vectors(link, number, Classify(number, list(inputs)))
        return Logits(found.vectors, found.prompt_tokens)

    @property
    def adapters(self) -> Mapping[str, Path]:
        return self._link.adapters if self._link is not None else {}

    def has(self, adapter: str) -> bool:
        """Whether requests can name it."""
        return adapter in self.adapters

    async def mount_adapter(self, name: str, path: Path) -> None:
        link = self._running()
        number = link.numbers.new()
        await link.call(number, Mount(number, name, str(path)))

    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None:
        link = self._running()
        number = link.numbers.new()
        await link.call(number, Unmount(number, name, wait))

    # Health, and what the users of one engine tell each other.

    def stats(self) -> EngineStats:
        return self._link.status.stats if self._link is not None else EngineStats()

    @property
    def load(self) -> int:
        """Choices and calls that the engine has, of all its users."""
        return self._link.load if self._link is not None else 0

    @property
    def unfinished(self) -> int:
        """Requests and calls of this process that the engine has."""
        link = self._link
        return len(link.requests) + link.numbers.waiting if link is not None else 0

    @property
    def leaving(self) -> bool:
        """Whether the engine ends once its requests are over."""
        return self._link is not None and self._link.status.leaving

    @property
    def users(self) -> int:
        return self._link.status.users if self._link is not None else 0

    @property
    def most_users(self) -> int:
        return self._link.most_users if self._link is not None else 0

    @property
    def failure(self) -> str | None:
        return self._link.failure if self._link is not None else None

    async def reports(self) -> list[bytes]:
        link = self._running()
        number = link.numbers.new()
        found: list[bytes] = await link.call(number, Ask(number))
        return found

    def abandon(self, error: OpenLLMError) -> None:
        """Close it at once; what it has of this process fails with `error`."""
        link, self._link = self._link, None
        if link is not None:
            link.abandon(error)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(EngineDead("The engine was closed."))


async def _vectors(link: Connection, number: int, asked: Embed | Classify) -> Embeddings:
    """The answer to `asked`; whoever no longer waits for it tells the engine so."""
    try:
        found: Embeddings = await link.call(number, asked)
    except asyncio.CancelledError:
        link.send(Cancel(number))
        raise
    return found


class SharedResidency:
    """The adapters of an engine that other processes use, too: asked for there, known here by its
    word.
    """

    def __init__(self, backend: SharedBackend) -> None:
        self._backend = backend

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._backend.adapters)

    def path(self, name: str) -> Path:
        """Where the adapter's files are. Errors: AdapterNotFound."""
        found = self._backend.adapters.get(name)
        if found is None:
            raise _missing(name)
        return found

    async def add(self, name: str, path: Path) -> None:
        """Errors: Conflict when the name is taken; the engine's own."""
        await self._backend.mount_adapter(name, path)

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        """Nothing to hold here: the engine's process holds the adapter while the request runs."""
        return await self._backend.submit(request, sink)

    async def remove(self, name: str, *, wait: bool = True) -> None:
        """Errors: AdapterNotFound; Conflict when it is in use and `wait` is false."""
        if name not in self.names:
            raise _missing(name)
        await self._backend.unmount_adapter(name, wait=wait)


def _missing(name: str) -> AdapterNotFound:
    return AdapterNotFound(
        f"There is no adapter {name!r}.",
        hint=f"{call('LLM.adapters')} lists them.",
        param="adapter",
    )
