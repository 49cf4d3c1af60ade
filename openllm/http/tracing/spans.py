"""The spans of a request: one for the whole of it, and below that its phases (queue, prefill,
decode).

The phases are those of the metrics, and their spans are made from what the request's meter has
noted, once the answer is over: a token costs the same with tracing as without it. The names of
attributes are those of OpenTelemetry's semantic conventions for HTTP and for generative AI, where
there are any. No attribute has anything of a prompt, an answer or a key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, TracerProvider
from opentelemetry.util.types import AttributeValue

import openllm
from openllm.http.tracing.request import RequestTrace, nanoseconds

if TYPE_CHECKING:
    from openllm.http.exchange import Exchange

# Asked every few seconds by whoever watches the server.
PROBES = frozenset({"/livez", "/readyz", "/health", "/ping", "/metrics"})
CLOSE_SECONDS = 2.0  # for the last spans to reach a collector

Headers = Mapping[bytes, bytes]


class Tracing:
    """Makes the traces of one server with `provider`. `excluded` says of a path whether it has
    none; `owned`: the provider ends with the server.
    """

    def __init__(
        self,
        provider: TracerProvider,
        excluded: Callable[[str], bool] = lambda path: False,
        *,
        owned: bool = True,
    ) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("openllm", openllm.__version__)
        self._excluded = excluded
        self._owned = owned

    @contextmanager
    def traced(self, exchange: Exchange) -> Iterator[None]:
        """The time of one request: its span is the current one inside the block. It continues the
        trace that the request's headers name, and is not made where that was not sampled.
        """
        if exchange.path in PROBES or self._excluded(exchange.path):
            yield
            return
        span = self._tracer.start_span(
            exchange.method,
            context=propagate.extract(exchange.headers, getter=_HEADERS),
            kind=SpanKind.SERVER,
            start_time=nanoseconds(exchange.started),
        )
        exchange.trace = RequestTrace(self._tracer, span)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            name = f"{exchange.method} {exchange.route or exchange.path}"
            exchange.trace.end(name, exchange.status, _attributes(exchange))

    async def close(self) -> None:
        """Send what waits to be sent, for `CLOSE_SECONDS` at most: a collector that is gone holds
        up no end.
        """
        shutdown = getattr(self._provider, "shutdown", None)
        if not self._owned or shutdown is None:
            return
        thread = threading.Thread(target=shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, CLOSE_SECONDS)


class _HeaderGetter(Getter[Headers]):
    """Reads the headers of a request for OpenTelemetry's propagators."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        value = carrier.get(key.lower().encode())
        return None if value is None else [value.decode("latin-1")]

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name in carrier]


_HEADERS = _HeaderGetter()


def _attributes(exchange: Exchange) -> dict[str, AttributeValue]:
    """What is said of an exchange that is over."""
    found: dict[str, AttributeValue] = {
        "http.request.method": exchange.method,
        "http.route": exchange.route or exchange.path,
        "http.response.status_code": exchange.status,
        "openllm.request_id": exchange.request_id,
        "openllm.stream": exchange.streaming,
    }
    if exchange.model:
        found["gen_ai.request.model"] = exchange.model
    if exchange.caller.name:
        found["openllm.key"] = exchange.caller.name
    if exchange.status >= 400:
        found["error.type"] = str(exchange.status)
    return found
