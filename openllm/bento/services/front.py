"""The ASGI application a worker runs: requests go straight to openllm's own server, BentoML's keeps
the lifespan.

BentoML wraps each `send` of an application mounted in it into its metrics, tracing, access-log and
timeout layers, which costs once per token of a stream. Here nothing stands between the HTTP server
and the protocol that writes.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Front:
    """`host` (BentoML's application) gets the lifespan events and runs the service's hooks; `app`
    gets the rest.
    """

    def __init__(self, host: ASGIApp, app: ASGIApp) -> None:
        self._host = host
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._host if scope["type"] == "lifespan" else self._app)(scope, receive, send)
