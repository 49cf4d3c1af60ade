"""Client: the calls of `AsyncClient` without asyncio, derived from it method by method."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from openllm.client.asynchronous import AsyncClient
from openllm.client.channel import BlockingChannel
from openllm.client.connection import DEFAULT_ENDPOINT, Access, ServerConnection
from openllm.client.retries import Retries

P = ParamSpec("P")
T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over a `BlockingChannel` to its end: one step, for it never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("a call over a blocking channel has waited")


def blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """`method` for `Client`."""

    @functools.wraps(method)
    def call(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return finish(method(client.calls, *args, **kwargs))

    return call


def iterating(
    method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    """`method`, an asynchronous generator, for `Client`; what it holds is freed when it is left."""

    @functools.wraps(method)
    def call(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items: Any = method(client.calls, *args, **kwargs)
        try:
            while True:
                try:
                    yield finish(items.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            finish(items.aclose())

    return call


class Client:
    """As `AsyncClient`, but each method returns when its answer is there, and streams are plain
    iterators. Several threads may share one.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        key: str | None = None,
        admin_key: str | None = None,
        timeout: float | None = None,
        retries: int | Retries = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        patience = Retries(retries) if isinstance(retries, int) else retries
        access = Access(endpoint, key, admin_key, timeout, patience)
        channel = BlockingChannel(transport, access.httpx_timeout, not access.local)
        self.calls = AsyncClient.over(ServerConnection(access, channel))

    @property
    def endpoint(self) -> str:
        return self.calls.endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        finish(self.calls.close())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint!r})"

    close = blocking(AsyncClient.close)
    generate = blocking(AsyncClient.generate)
    stream = iterating(AsyncClient.stream)
    chat = blocking(AsyncClient.chat)
    chat_stream = iterating(AsyncClient.chat_stream)
    embed = blocking(AsyncClient.embed)
    rerank = blocking(AsyncClient.rerank)
    models = blocking(AsyncClient.models)
    metadata = blocking(AsyncClient.metadata)
    adapters = blocking(AsyncClient.adapters)
    add_adapter = blocking(AsyncClient.add_adapter)
    remove_adapter = blocking(AsyncClient.remove_adapter)
    health = blocking(AsyncClient.health)
    wait_until_ready = blocking(AsyncClient.wait_until_ready)
