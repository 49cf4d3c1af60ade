"""One replica of a Serve application, in the process that Ray has started for it."""

from __future__ import annotations

import logging

from starlette.types import Receive, Scope, Send

from openllm.config.logs import log_formatter
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import EngineDead
from openllm.http.app import Server, create_app
from openllm.llm.llm import LLM

_here: list[Server] = []  # of this process; at most one


def make_server(spec: str) -> Below:
    """The application around an LLM of `spec`, an LLMSpec as JSON; its lifespan starts the engine
    and ends it.
    """
    settings = Settings.from_env()
    ours = logging.getLogger("openllm")
    ours.setLevel(settings.log_level.upper())
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(settings.log_format))
    ours.handlers = [handler]
    server = create_app([LLM.from_spec(LLMSpec.from_json(spec), settings=settings)], settings)
    _here[:] = [server]
    return Below(server)


def require_alive() -> None:
    """Errors: EngineDead."""
    for server in _here:
        for llm in server.catalog.llms:
            if llm.failure is not None:
                raise EngineDead(f"The engine of {llm.name} has stopped: {llm.failure}.")


class Below:
    """`server` at the route that Serve has given the application: paths begin behind it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path") or ""
        if scope["type"] == "http" and root and scope["path"].startswith(root):
            inner = scope["path"][len(root) :] or "/"
            scope = {**scope, "path": inner, "raw_path": inner.encode(), "root_path": ""}
        await self._server(scope, receive, send)
