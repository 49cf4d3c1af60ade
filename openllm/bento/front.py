"""The ASGI application a worker runs: requests go straight to openllm's own application, BentoML's keeps the lifespan.

BentoML wraps each `send` of an application mounted in it into its metrics, tracing, access-log and timeout layers,
which costs once per token of a stream. Here nothing stands between the server and the protocol that writes the bytes.
"""

from __future__ import annotations

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from openllm.bento.runtime import Runtime
from openllm.errors import Overloaded
from openllm.protocols.http import error_object

OPEN_WHILE_DRAINING = frozenset({"/livez", "/metrics"})


class Front:
    """Counts requests in flight and refuses new ones while the worker drains."""

    def __init__(self, lifespan: ASGIApp, app: ASGIApp, runtime: Runtime) -> None:
        self._lifespan = lifespan
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        runtime = self._runtime
        if runtime.draining and scope["type"] == "http" and scope["path"] not in OPEN_WHILE_DRAINING:
            await _refuse(send)
            return
        runtime.enter()
        try:
            await self._app(scope, receive, send)
        finally:
            runtime.leave()


async def _refuse(send: Send) -> None:
    """503 in OpenAI's shape, on a connection that is then closed: the caller's next attempt goes elsewhere."""
    error = Overloaded("This server is shutting down.", hint="Try again.", retry_after=1)
    headers = [
        (b"content-type", b"application/json"),
        (b"retry-after", b"%d" % error.retry_after),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(error_object(error))})
