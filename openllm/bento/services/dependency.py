"""An engine's service as something another service depends on: BentoML starts its process, and an
`LLM` reaches it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bentoml

from openllm.backends.base import Backend
from openllm.bento.services.engine import EngineService, addresses_of
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError
from openllm.llm.llm import LLM
from openllm.remote.backend import RunnerBackend
from openllm.remote.replicas import ReplicatedBackend

# The base of BentoML's dependencies; `bentoml.depends` is a function around it.
Dependency: type[Any] = bentoml.Dependency

logger = logging.getLogger("openllm")


class EngineDependency(Dependency):  # type: ignore[misc]  # bentoml has no types
    """What makes BentoML start an engine's process beside a service; its value in the service is
    None.
    """

    def get(self) -> None:
        return None


class LLMDependency(Dependency):  # type: ignore[misc]  # bentoml has no types
    """An engine's service as the attribute of another: its value is an `LLM`.

    The other service is ready only while the engine is up: BentoML itself asks only those
    dependencies that are proxies of its own.
    """

    _resolved: LLM | None  # kept by BentoML
    _starting: asyncio.Task[None] | None = None
    _told: str | None = None  # why it did not start, as the log has it already

    def __set_name__(self, owner: type[Any], name: str) -> None:
        asked = getattr(owner, "__is_ready__", None)  # BentoML's name for it

        async def is_ready(service: Any) -> bool:
            if not await self._ready(getattr(service, name)):
                return False
            if asked is None:
                return True
            if inspect.iscoroutinefunction(asked):
                return bool(await asked(service))
            return bool(await asyncio.to_thread(asked, service))

        owner.__is_ready__ = is_ready

    def get(self) -> LLM:
        """An LLM over the engine's process; where BentoML starts none (development mode, a script),
        one in this one.
        """
        found: LLM = self._resolved or remote_llm(self.on)
        return found

    async def close(self) -> None:
        """Called by BentoML when the service ends."""
        llm, self._resolved = self._resolved, None
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait((starting,))
        if llm is not None:
            await llm.aclose()

    async def _ready(self, llm: LLM) -> bool:
        """Whether the engine is up; if it is not, it is brought up meanwhile, anew if it died."""
        if llm.started and llm.failure is None:
            return True
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start(llm))
        return False

    async def _start(self, llm: LLM) -> None:
        """What keeps the engine from starting is logged, once."""
        try:
            if llm.failure is not None:
                await llm.aclose()
            await llm.start()
        except OpenLLMError as error:
            if self._told != error.text:
                logger.error("%s: %s", llm.name, error.text)
            self._told = error.text


def remote_llm(service: EngineService) -> LLM:
    """An LLM over the engine that `service` stands for."""
    return connect(*service.localised(), addresses_of([service.name]), service.settings)


def connect(
    spec: LLMSpec,
    weights_dir: Path | None,
    addresses: Sequence[Path],
    settings: Settings,
    *,
    patient: bool = True,
) -> LLM:
    """An LLM whose engine listens at the one of `addresses`, or whose replicas do, for all of which
    it waits if it is `patient`; without any, with an engine of its own in this process.
    """
    if not addresses:
        return LLM.from_spec(spec, weights_dir, settings=settings)
    reason = f"Backend {spec.backend or 'chosen there'}: in a process of its own."

    def make_engine(spec: LLMSpec, place: Path) -> tuple[Backend, str]:
        if len(addresses) == 1:
            return RunnerBackend(spec, place, addresses[0], settings), reason
        return ReplicatedBackend(spec, place, addresses, settings, patient=patient), reason

    return LLM.from_spec(spec, weights_dir, make_engine, settings)
