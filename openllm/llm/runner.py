"""What an LLM's `bentoml.legacy.Runner` looks like from here; its class is made above, where
bentoml is known.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any, Protocol, TypeVar

from openllm.backends.base import EngineStats
from openllm.config.spec import LLMSpec
from openllm.types import GenerationOutput

T_co = TypeVar("T_co", covariant=True)


class RunnerMethod(Protocol[T_co]):
    """A method of a Runner: `run` waits for the answer, `async_run` is for coroutines."""

    def run(self, *args: Any, **kwargs: Any) -> T_co: ...

    async def async_run(self, *args: Any, **kwargs: Any) -> T_co: ...


class RunnerStream(Protocol[T_co]):
    """A method of a Runner that answers in pieces; closing the iterator cancels."""

    def run(self, *args: Any, **kwargs: Any) -> Iterator[T_co]: ...

    def async_stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[T_co, None]: ...


class LLMRunner(Protocol):
    """An `openllm.Runner`, for type checkers. What is not named here is BentoML's, which has no
    types.
    """

    name: str
    generate: RunnerMethod[GenerationOutput]
    generate_iterator: RunnerStream[GenerationOutput]
    embed: RunnerMethod[list[list[float]]]
    adapters: RunnerMethod[tuple[str, ...]]
    stats: RunnerMethod[EngineStats]

    @property
    def spec(self) -> LLMSpec: ...

    def init_local(self, quiet: bool = False) -> None:
        """Load the model into this process; returns when it is ready."""

    def destroy(self) -> None:
        """Undo `init_local`."""

    def __getattr__(self, name: str) -> Any: ...
