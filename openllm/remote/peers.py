"""The API workers in front of the same engines: whether all are there, and what each of them has
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from openllm.remote.backend import SharedBackend

if TYPE_CHECKING:
    from openllm.llm.llm import LLM


class Peers:
    """The `count` workers that serve `llms`, one of them this process. They meet at the first LLM's
    engine.
    """

    def __init__(self, llms: Sequence[LLM], count: int, report: Callable[[], bytes]) -> None:
        self._llms = tuple(llms)
        self._count = count
        self._report = report

    async def join(self) -> None:
        """Tell the others this one's report from now on; call it once the LLMs are started."""
        self._meeting().report = self._report

    @property
    def complete(self) -> bool:
        """Whether every worker is connected to every engine, so that whichever gets a request can
        answer it.
        """
        here = self._backends()
        return len(here) == len(self._llms) and all(
            backend.users >= self._count for backend in here
        )

    @property
    def ready(self) -> bool:
        """Whether this worker can answer, and all have been there once: one that ends later is no
        reason to send requests elsewhere, and one that replaces it takes none before it can.
        """
        here = self._backends()
        return len(here) == len(self._llms) and all(
            backend.most_users >= self._count for backend in here
        )

    def _backends(self) -> list[SharedBackend]:
        started = [llm.backend for llm in self._llms if llm.started]
        return [backend for backend in started if isinstance(backend, SharedBackend)]

    async def reports(self) -> list[bytes]:
        """What the other workers report. Errors: EngineDead, Overloaded when one does not answer in
        time.
        """
        alone = self._count == 1 or not self._llms[0].started
        return [] if alone else await self._meeting().reports()

    def _meeting(self) -> SharedBackend:
        backend = self._llms[0].backend
        if not isinstance(backend, SharedBackend):
            raise TypeError(f"{type(backend).__name__} is not shared between processes")
        return backend
