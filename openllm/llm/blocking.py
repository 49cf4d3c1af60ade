"""What an LLM does for callers that do not await: scripts, plain threads, and notebooks, whose
cells run inside an event loop.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Self, TypeVar, overload

from openllm.errors import InvalidRequest
from openllm.llm.host import Host
from openllm.llm.loops import in_event_loop
from openllm.prompt.messages import conversation
from openllm.prompt.renderer import ChatRenderer
from openllm.types import Conversation, GenerationOutput, Message, Prompt

T = TypeVar("T")
Prompts = list[str] | list[list[int]] | list[Conversation]


class BlockingCalls(abc.ABC):
    """`run` and what is made of it: each returns when its answer is there. The work is done on an
    event loop of its own, so that it may be called inside another.
    """

    _host: Host

    @property
    @abc.abstractmethod
    def renderer(self) -> ChatRenderer: ...

    @abc.abstractmethod
    async def start(self) -> None: ...

    @abc.abstractmethod
    async def generate(
        self, prompt: Prompt, *, adapter_name: str | None = None, **params: Any
    ) -> GenerationOutput: ...

    @overload
    def run(self, work: Coroutine[Any, Any, T]) -> T: ...

    @overload
    def run(self, work: list[Coroutine[Any, Any, T]]) -> list[T]: ...

    @overload
    def run(self, work: AsyncGenerator[T, None]) -> Iterator[T]: ...

    def run(
        self,
        work: Coroutine[Any, Any, T] | list[Coroutine[Any, Any, T]] | AsyncGenerator[T, None],
    ) -> T | list[T] | Iterator[T]:
        """Run a coroutine of this LLM to its end, or several at once, whose results come in their
        order; or give the items of a stream, `llm.generate_iterator`, as they come.

        Errors: those of the work, of several the first, and the others are cancelled;
        InvalidRequest inside the event loop that the engine lives on.
        """
        if isinstance(work, list):
            return self._host.run_together(work)
        return self._host.run(work)

    @overload
    def __call__(self, prompt: Prompt, **params: Any) -> GenerationOutput: ...

    @overload
    def __call__(self, prompt: Prompts, **params: Any) -> list[GenerationOutput]: ...

    def __call__(
        self, prompt: Prompt | Prompts, **params: Any
    ) -> GenerationOutput | list[GenerationOutput]:
        """The answer, or those of a list of prompts, which are asked at once.

        A text is one turn of a chat when the model has a chat template, else it is continued;
        `params` are `SamplingParams`' names. Errors: as of `run` and `generate`.
        """
        if isinstance(prompt, list) and not (prompt and isinstance(prompt[0], int)):
            return self.run([self._ask(each, params) for each in prompt])
        return self.run(self._ask(prompt, params))

    async def _ask(self, prompt: Any, params: dict[str, Any]) -> GenerationOutput:
        await self.start()
        if isinstance(prompt, str) and self.renderer.has_template:
            prompt = conversation([Message("user", prompt)])
        return await self.generate(prompt, **params)

    def close(self) -> None:
        """The synchronous `aclose`. Errors: InvalidRequest inside the engine's own event loop."""
        self._host.close()

    def __enter__(self) -> Self:
        """Errors: InvalidRequest inside a running event loop: it could not be left again."""
        if in_event_loop():
            raise InvalidRequest("An event loop is running here.", hint="Use `async with` instead.")
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
