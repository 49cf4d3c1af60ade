"""The HTTP server: every protocol over a set of LLMs, with health, metrics, keys, limits and the
one error handler.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import openllm
from openllm.config.logs import FIELDS
from openllm.config.settings import Settings
from openllm.config.words import VARIABLES
from openllm.discovery import Variant, load, load_each, variants
from openllm.errors import Forbidden, OpenLLMError
from openllm.http.arrivals import Arrivals
from openllm.http.auth import Auth
from openllm.http.catalog import Catalog
from openllm.http.dialect import Dialect
from openllm.http.exchange import CLIENT_CLOSED, Exchange, Shared
from openllm.http.facts import facts_of
from openllm.http.incoming import ClientGone
from openllm.http.keys.caller import calling
from openllm.http.keys.fair import FairQueues
from openllm.http.keys.figures import KeyFigures
from openllm.http.limits import RequestLimits, TokenQueue
from openllm.http.metrics import CONTENT_TYPE, Metrics
from openllm.http.origins import Origins
from openllm.http.routes import Endpoint, Found, Routes
from openllm.llm.collector import collect_by_the_clock, collection_paused, set_aside, settle
from openllm.llm.loops import together

if TYPE_CHECKING:
    from openllm.http.tracing.spans import Tracing
    from openllm.llm.llm import LLM
    from openllm.remote.peers import Peers

log = logging.getLogger("openllm.http.app")

# What a protocol exports as `routes`.
MakeRoutes = Callable[[Catalog, Settings], list[Route]]


def create_app(
    llms: Sequence[LLM], settings: Settings | None = None, tracing: Tracing | None = None
) -> Server:
    """An ASGI application that serves `llms`, and traces its requests with `tracing`. Errors:
    ConfigurationError (no model, two of one name).
    """
    return Server(llms, settings or Settings.from_env(), tracing)


def _read(variant: Variant, module: ModuleType) -> MakeRoutes:
    make: MakeRoutes = module.routes
    return make


def _protocols(settings: Settings) -> list[MakeRoutes]:
    """Those that the settings name; else all that can be loaded. Errors: BrokenExtension."""
    found = variants("openllm.protocols")
    if not settings.protocols:
        return load_each(found.values(), _read)
    return [load(variant, _read) for name, variant in found.items() if name in settings.protocols]


class Server:
    """The application and the life of its models. Being called as ASGI, `start` and `close` share
    one event loop.

    Under a plain ASGI server the lifespan events call `start` and `close`; a host that has no
    lifespan calls them.
    """

    def __init__(
        self, llms: Sequence[LLM], settings: Settings, tracing: Tracing | None = None
    ) -> None:
        self._tracing = tracing
        self.catalog = Catalog(llms, any_model=settings.any_model)
        self.settings = settings
        self.limits = RequestLimits(settings)
        self.metrics = Metrics(self.catalog.llms)
        self.arrivals = Arrivals()
        self.queue = TokenQueue(settings.max_queued_tokens)
        self.peers: Peers | None = (
            None  # the other processes behind the same port, where there are any
        )
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []  # that run until it is closed
        routes = [route for make in _protocols(settings) for route in make(self.catalog, settings)]
        dialect = Routes(routes).dialect("/")
        self.routes = Routes([*routes, *self._own_routes(dialect)])
        auth = Auth(settings)
        self._origins = Origins(settings)
        self.keys = auth.keys
        self.turns: FairQueues | None = None
        if self.keys is not None:
            self.turns = FairQueues(self.catalog.llms, settings.api_workers)
            self.metrics.register(KeyFigures(self.keys, self.limits, self.turns))
        self._shared = Shared(
            settings,
            self.metrics,
            auth,
            self.limits,
            self.queue,
            dialect=dialect,
            routes=tuple(self.routes),
            turns=self.turns,
        )

    # Life.

    async def start(self) -> None:
        """Start every LLM: those with an engine in a process of its own side by side, the others
        one after the other, for each takes what memory it finds. Later calls wait for the first.
        Errors: the LLM's own.
        """
        if self._starting is None:
            if self.keys is not None:
                self._tasks.append(asyncio.create_task(self.keys.watch()))
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        with collection_paused():
            starting: list[asyncio.Task[None]] = []
            for llm in self.catalog.llms:
                starting.append(asyncio.create_task(self._start_one(llm, tuple(starting))))
            await together(starting)
        if self.peers is not None:
            await self.peers.join()
        settle()
        self._tasks.append(asyncio.create_task(collect_by_the_clock()))
        self._tasks += [asyncio.create_task(work(self)) for work in self.routes.beside()]

    async def _start_one(self, llm: LLM, earlier: Sequence[asyncio.Task[None]]) -> None:
        """Start one; where its engine lives in this process, once the `earlier` ones have."""
        await asyncio.to_thread(_import_libraries, llm)
        llm.backend.others_wait = self.arrivals.waiting
        if not llm.backend.elsewhere:
            await asyncio.gather(*earlier)
        set_aside()
        await llm.start()

    @property
    def alive(self) -> bool:
        """Whether no engine has died."""
        return all(llm.failure is None for llm in self.catalog.llms)

    @property
    def ready(self) -> bool:
        """Whether every engine is up, and was for every process behind this port, and new requests
        are taken.
        """
        up = all(llm.started and llm.backend.ready for llm in self.catalog.llms) and (
            self.peers is None or self.peers.ready
        )
        return self.alive and not self.limits.draining and up

    async def drain(self, seconds: float | None = None) -> bool:
        """Refuse new requests and let the live ones finish, for `seconds` at most (default: the
        setting).

        True when all have finished.
        """
        self.limits.draining = True
        try:
            async with asyncio.timeout(self.settings.drain_seconds if seconds is None else seconds):
                await self.limits.wait_idle()
        except TimeoutError:
            log.warning(
                "%d requests had not finished when the time to drain was over.", self.limits.live
            )
            return False
        return True

    async def close(self) -> None:
        """Stop every engine; what still runs ends as cancelled."""
        self.limits.draining = True
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        for task in self._tasks:  # before the engines, whose end would be an answer to them
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        gc.unfreeze()  # or an engine could not collect its model, to return a GPU's memory
        for llm in self.catalog.llms:
            await llm.aclose()
        if self._tracing is not None:
            await self._tracing.close()

    # Requests.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send, self._shared)
            if self._tracing is None:
                await self._serve(exchange)
                return
            with self._tracing.traced(exchange):
                await self._serve(exchange)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._answer(exchange)
        except ClientGone:
            exchange.status = CLIENT_CLOSED
        except OpenLLMError as error:
            if error.status >= 500:
                log.warning("%s %s: %s", exchange.request_id, exchange.path, type(error).__name__)
            await exchange.fail(error)
        except Exception as error:
            log.error("%s: unexpected %s", exchange.request_id, type(error).__name__)
            log.debug("%s: unexpected error", exchange.request_id, exc_info=error)
            hint = f"The server's log has more under {exchange.request_id}."
            await exchange.fail(OpenLLMError("Something went wrong inside the server.", hint=hint))
        finally:
            self._record(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        found = self.routes.find(exchange.scope, exchange.path)
        exchange.dialect = found.dialect
        auth = self._shared.auth
        exchange.extra_headers = auth.cors(exchange.method, exchange.headers, found.dialect)
        if exchange.extra_headers and exchange.method == "OPTIONS":
            await exchange.answer(200, b"")
            return
        self.limits.check_headers(exchange.scope)
        self._origins.check(exchange.scope, exchange.headers)
        if exchange.sender is not None:
            exchange.caller = auth.named(exchange.sender.name)
        else:
            exchange.caller = await auth.identify(
                exchange.headers, found.dialect, public=found.public
            )
        calling.set(exchange.caller)
        if exchange.method != "POST":
            await self._hand_over(exchange, found)
            return
        with self.limits.work(exchange.caller):
            await self.arrivals.turn()
            await self._hand_over(exchange, found)

    async def _hand_over(self, exchange: Exchange, found: Found) -> None:
        """Errors: NotFound, MethodNotAllowed, those of the handler."""
        if found.endpoint is not None:
            exchange.route = None if found.public else found.endpoint.path
        if found.others:
            exchange.extra_headers.append((b"allow", ", ".join(found.others).encode()))
        exchange.path_params = found.params
        await found.reach(exchange.method, exchange.path)(exchange)

    def _record(self, exchange: Exchange) -> None:
        if exchange.route is None:
            return
        seconds = time.perf_counter() - exchange.started
        self.metrics.finished(
            exchange.model, exchange.route, exchange.status, seconds, exchange.caller
        )
        if self.settings.access_log or self.settings.log_format == "json":
            log.info(
                "%s %s%s %s %d %.3fs",
                exchange.request_id,
                f"{exchange.caller.name} " if exchange.caller.name else "",
                exchange.method,
                exchange.route,
                exchange.status,
                seconds,
                extra={FIELDS: facts_of(exchange) | {"seconds": round(seconds, 6)}},
            )

    def _own_routes(self, dialect: Dialect) -> list[Route]:
        async def livez(exchange: Exchange) -> None:
            await exchange.answer_json(
                {"status": "alive" if self.alive else "dead"}, 200 if self.alive else 503
            )

        async def readyz(exchange: Exchange) -> None:
            await exchange.answer_json({"status": self._state()}, 200 if self.ready else 503)

        async def version(exchange: Exchange) -> None:
            await exchange.answer_json({"version": openllm.__version__})

        async def metrics(exchange: Exchange) -> None:
            if exchange.caller.listed:
                raise Forbidden(
                    "This key does not open the metrics, which tell of all keys.",
                    hint="Send the admin key.",
                )
            others = await self.peers.reports() if self.peers is not None else ()
            await exchange.answer(200, self.metrics.render(others), CONTENT_TYPE)

        async def requests(exchange: Exchange) -> None:
            exchange.require_admin()
            found = {"process": os.getpid(), "requests": self._shared.live.facts()}
            await exchange.answer_json(found)

        handlers = (
            ("/livez", livez, True),
            ("/readyz", readyz, True),
            ("/ping", readyz, False),
            ("/health", readyz, False),
            ("/version", version, False),
            ("/metrics", metrics, self.settings.open_metrics),
            ("/debug/requests", requests, False),
        )
        return [
            Route(path, Endpoint(path, handler, dialect, public=public), methods=["GET"])
            for path, handler, public in handlers
        ]

    def _state(self) -> str:
        if not self.alive:
            return "dead"
        if self.limits.draining:
            return "draining"
        return "ready" if self.ready else "loading"

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan: start before the first request, close after the last."""
        await receive()
        try:
            await self.start()
        except OpenLLMError as error:
            await send({"type": "lifespan.startup.failed", "message": error.said(VARIABLES)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def _import_libraries(llm: LLM) -> None:
    """Make what needs no weights: with it come the libraries, transformers and mostly torch."""
    _ = llm.backend, llm.renderer
