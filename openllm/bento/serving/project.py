"""One process that serves a project (a rendered service.py and its specs) on a listening socket."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from openllm.bento.pack.document import DOCUMENT, write_document
from openllm.bento.pack.names import tag_name
from openllm.bento.pack.render import render_service
from openllm.bento.services.llm import LLMService, ServicePlan
from openllm.bento.serving.signals import answering
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
from openllm.http.app import Server

KEEP_ALIVE_SECONDS = 75  # longer than a load balancer keeps an idle connection


def write_project(folder: Path, specs: Sequence[LLMSpec]) -> None:
    """What a Bento of `specs` has: service.py, and the specs beside it."""
    (folder / "service.py").write_text(
        render_service(tag_name(specs[0].served_name)), encoding="utf-8"
    )
    (folder / DOCUMENT).write_text(write_document(specs), encoding="utf-8")


def load_project(folder: Path, plan: ServicePlan) -> LLMService:
    """The service of a project, as BentoML loads any; it serves exactly what `plan` says."""
    from bentoml import load

    sys.modules.pop("service", None)
    service: LLMService = load("service:svc", working_dir=str(folder))
    service.plan = plan
    return service


def run_service(
    service: LLMService,
    listener: socket.socket,
    when_ready: Callable[[Server], None] = lambda server: None,
) -> None:
    """Serve until SIGTERM or Ctrl+C: what BentoML's worker does, without its supervisor.
    `when_ready` is called once the engine is. Errors: ServeError.
    """
    import uvicorn

    app = service.to_asgi()
    service.life.told_elsewhere = True
    service.life.when_ready = when_ready
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="on",
    )
    # uvicorn raises the signals it was stopped by once more; here they have done their work.
    with answering(lambda number, frame: None):
        uvicorn.Server(config).run(sockets=[listener])
    if service.life.failure:
        raise ServeError(service.life.failure)
