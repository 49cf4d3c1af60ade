"""What a Runner's methods do: refuse before it is initialised, call the LLM here, or ask BentoML's
runner process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any

import anyio.from_thread
import msgspec
from bentoml._internal.context import server_context
from bentoml._internal.runner.runner_handle import DummyRunnerHandle, RunnerHandle
from bentoml._internal.runner.runner_handle.remote import RemoteRunnerClient

from openllm.errors import ConfigurationError, EngineDead, InvalidRequest, OpenLLMError
from openllm.llm.loops import LoopThread
from openllm.prompt.messages import require_items
from openllm.remote.frames import Trouble, from_trouble, to_trouble
from openllm.types import GenerationOutput

START_HINT = "Call runner.init_local(), or put it into the service: Service(..., runners=[runner])."
UNIX_HINT = "Serve it on Linux or macOS, or make the runner embedded=True."


class NoHandle(DummyRunnerHandle):  # type: ignore[misc]  # bentoml has no types
    """Of a Runner that nobody has initialised."""

    def __init__(self, runner: Any) -> None:
        self._name = runner.name

    def _refuse(self) -> EngineDead:
        return EngineDead(f"The runner {self._name!r} has not been initialised.", hint=START_HINT)

    async def is_ready(self, timeout: int) -> bool:  # noqa: ASYNC109  BentoML's signature
        """Never."""
        return False

    def run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Errors: EngineDead always."""
        raise self._refuse()

    async def async_run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Errors: EngineDead always."""
        raise self._refuse()

    def async_stream_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Errors: EngineDead always."""
        raise self._refuse()


class LocalHandle(RunnerHandle):  # type: ignore[misc]  # bentoml has no types
    """The LLM lives in this process, on an event loop of its own."""

    def __init__(self, runner: Any) -> None:
        self._runnable = runner.runnable_class()
        self._thread: LoopThread = self._runnable.thread
        self._serves = (
            server_context.service_type == "runner"
        )  # this process answers BentoML's API server

    async def is_ready(self, timeout: int) -> bool:  # noqa: ASYNC109  BentoML's signature
        """Whether the engine lives."""
        return self._runnable.llm.failure is None

    def run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for the answer; the items of a stream come as they are made."""
        _require_batch(method, args, kwargs)
        work = getattr(self._runnable, method.name)(*args, **kwargs)
        return self._thread.iterate(work) if method.config.is_stream else self._thread.run(work)

    async def async_run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Any number of these run at once. Errors: the LLM's own; a runner process hands them
        on.
        """
        _require_batch(method, args, kwargs)
        try:
            return await getattr(self._runnable, method.name)(*args, **kwargs)
        except OpenLLMError as error:
            if not self._serves:
                raise
            return (
                await self._one_by_one(method, args[0])
                if method.config.batchable
                else to_trouble(error)
            )

    async def _one_by_one(self, method: Any, items: Iterable[Any]) -> list[Any]:
        """A batch holds several callers' items: only those that are wrong get the error."""

        async def one(item: Any) -> Any:
            try:
                return (await getattr(self._runnable, method.name)([item]))[0]
            except OpenLLMError as error:
                return to_trouble(error)

        return await asyncio.gather(*map(one, items))

    def async_stream_method(
        self, method: Any, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """The method's items; in a runner process one line of JSON for each, since BentoML carries
        text there.
        """
        items = getattr(self._runnable, method.name)(*args, **kwargs)
        return _as_lines(items) if self._serves else items

    def close(self) -> None:
        """Stop the engine, if this handle has started it."""
        self._runnable.close()


class RemoteHandle(RemoteRunnerClient):  # type: ignore[misc]  # bentoml has no types
    """The LLM lives in a process of BentoML's, behind a Unix socket."""

    def _get_conn(self) -> Any:
        url = str(self._remote_runner_server_map.get(self._runner.name, ""))
        if url.startswith("tcp"):
            raise ConfigurationError("Runners are reached over Unix sockets only.", hint=UNIX_HINT)
        return super()._get_conn()

    def run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """For synchronous APIs: the answer, or a stream's items as they come. Errors: the LLM's
        own.
        """
        if method.config.is_stream:
            return _drawn(self.async_stream_method(method, *args, **kwargs))
        return super().run_method(method, *args, **kwargs)

    async def async_run_method(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Errors: the LLM's own."""
        _require_batch(method, args, kwargs)
        answer = await super().async_run_method(method, *args, **kwargs)
        for item in answer if method.config.batchable else (answer,):
            if isinstance(item, Trouble):
                raise from_trouble(item)
        return answer

    async def async_stream_method(
        self, method: Any, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """The items of the LLM's own method. Errors: the LLM's own."""
        pieces = super().async_stream_method(method, *args, **kwargs)
        waiting = ""
        try:
            async for piece in pieces:
                *lines, waiting = (waiting + piece).split("\n")
                for line in lines:
                    yield _from_line(line)
        finally:
            await pieces.aclose()


def _require_batch(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """BentoML joins and splits what callers pass to a batchable method, so it is one list. Errors:
    InvalidRequest.
    """
    if method.config.batchable:
        if kwargs or len(args) != 1:
            raise InvalidRequest(
                f"A runner's {method.name} takes one list.", hint="For more, use the LLM's own."
            )
        require_items(args[0], f"What a runner's {method.name} takes", "Pass a list of texts.")


def _drawn(items: AsyncGenerator[Any, None]) -> Iterator[Any]:
    """The items, for a thread that BentoML has lent to a synchronous API."""

    async def step() -> Any:
        return await anext(items, None)

    try:
        while (item := anyio.from_thread.run(step)) is not None:
            yield item
    finally:
        anyio.from_thread.run(items.aclose)


async def _as_lines(items: AsyncGenerator[GenerationOutput, None]) -> AsyncGenerator[str, None]:
    try:
        async for item in items:
            yield _line(item)
    except OpenLLMError as error:
        yield _line(to_trouble(error))
    finally:
        await items.aclose()


def _line(value: GenerationOutput | Trouble) -> str:
    """ASCII only: BentoML decodes whatever pieces it reads, and they may end inside a character."""
    return json.dumps(msgspec.to_builtins(value)) + "\n"


def _from_line(line: str) -> GenerationOutput:
    """Errors: what the other process raised."""
    if line.startswith("["):
        raise from_trouble(msgspec.json.decode(line, type=Trouble))
    return msgspec.json.decode(line, type=GenerationOutput)
