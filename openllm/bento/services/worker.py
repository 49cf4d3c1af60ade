"""What the services that speak HTTP have in common: BentoML's configuration, and a worker's life.

A service is described in one object and run by its worker: `HTTPService` is the description, and
`Worker` the base of the class whose instance BentoML makes in each worker process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import bentoml

import openllm
from openllm.bento.services.tracing import tracing_in_force
from openllm.config.logs import JSONFormatter
from openllm.config.settings import Settings
from openllm.llm.llm import LLM
from openllm.remote.peers import Peers

if TYPE_CHECKING:
    from openllm.http.life import WorkerLife

# BentoCloud's gateway goes by it; here nothing cuts a long answer off.
LONGEST_ANSWER_SECONDS = 24 * 3600
SHARED_CONFIG: Mapping[str, Any] = {
    "traffic": {"timeout": LONGEST_ANSWER_SECONDS},
    "workers": 1,
    "metrics": {"enabled": False},  # ours are at /metrics
    "logging": {"access": {"enabled": False}},
}
KEPT = "kept"  # a directory of files and answers
LABELS = {"openllm": openllm.__version__, "openai_endpoint": "/v1"}


@attrs.define(eq=False, slots=False)
class HTTPService(bentoml.Service):  # type: ignore[misc]  # bentoml has no types
    """A service whose workers run openllm's HTTP server; `life` is this process's worker's,
    `settings` are what the process that made the service was told. Where it `waits_for_engines`, a
    worker takes no connection before its engines are there; else it answers /livez meanwhile.
    """

    life: WorkerLife = attrs.field(init=False, default=None)
    settings: Settings = attrs.field(init=False, factory=Settings)
    waits_for_engines: bool = attrs.field(init=False, default=False)

    def begin_life(
        self,
        llms: Sequence[LLM],
        settings: Settings,
        *,
        workers: int,
        addresses: Sequence[Sequence[Path]],
    ) -> WorkerLife:
        """The life of one of `workers` workers that serve `llms`; `addresses`: for each of
        them where the engines listen that have processes of their own, which all workers share.
        """
        from openllm.http.app import create_app
        from openllm.http.connections import limit_connections
        from openllm.http.life import WorkerLife

        log_in(settings)
        settings = attrs.evolve(settings, api_workers=workers)
        if workers > 1 and settings.files_root is None and addresses and addresses[0]:
            # The next request may come to another worker: what is kept stands beside the engines'
            # sockets, where all workers find it, and goes with the server.
            settings = attrs.evolve(settings, files_root=addresses[0][0].parent / KEPT)
        server = create_app(llms, settings, tracing_in_force())
        if all(addresses):
            server.peers = Peers(llms, workers, server.metrics.report)
        self.life = WorkerLife(server, limit_connections(settings))
        return self.life

    def on_load_bento(self, bento: bentoml.Bento) -> None:
        """Called by BentoML: the Bento may have been built for another number of workers, without
        the engines.
        """
        for service in self.all_services().values():
            service.bento = bento


def log_in(settings: Settings, part: str = "") -> None:
    """Our lines at the level and in the format of `settings`, in a worker that BentoML has started:
    its own handlers write text.
    """
    ours = logging.getLogger("openllm")
    ours.setLevel(settings.log_level.upper())
    started_here = any(isinstance(one.formatter, JSONFormatter) for one in logging.root.handlers)
    if settings.log_format == "json" and not started_here:
        handler = logging.StreamHandler()
        handler.setFormatter(JSONFormatter(part))
        ours.handlers, ours.propagate = [handler], False


class Worker:
    """A large language model behind OpenAI's API and openllm's own."""

    bento_service: HTTPService  # set by BentoML on each instance

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # bentoml has no types
    async def load(self) -> None:
        self.bento_service.life.start()
        if self.bento_service.waits_for_engines:
            await self.bento_service.life.loaded()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # bentoml has no types
    async def unload(self) -> None:
        await self.bento_service.life.close()

    async def __is_ready__(self) -> bool:
        return self.bento_service.life.ready

    async def __is_alive__(self) -> bool:
        return self.bento_service.life.alive
