"""One HTTP exchange: the body read within its limits, one answer or one stream written, a client's
leaving noticed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import parse_qs

import attrs
import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from openllm.config.settings import Settings
from openllm.errors import (
    InvalidRequest,
    OpenLLMError,
    PayloadTooLarge,
    RequestTimeout,
    Retryable,
    Unauthorized,
    UnsupportedFeature,
    field,
)
from openllm.http.body.fields import Fields, decode_object
from openllm.http.compression import SMALLEST, chosen, packed
from openllm.http.dialect import Dialect, tell
from openllm.http.ignored import Ignored
from openllm.http.incoming import ClientGone, Incoming
from openllm.http.inside import sender_of
from openllm.http.keys.caller import NOBODY
from openllm.http.live import LiveRequests
from openllm.types import new_request_id

if TYPE_CHECKING:
    from openllm.http.auth import Auth
    from openllm.http.keys.fair import FairQueues
    from openllm.http.limits import RequestLimits, TokenQueue
    from openllm.http.metrics import Meter, Metrics
    from openllm.http.tracing.request import RequestTrace

P = ParamSpec("P")
T = TypeVar("T")
CLIENT_CLOSED = 499  # what logs and metrics show for a client that left; never sent
_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACE_HEADERS = (b"traceparent", b"traceresponse")  # the latter is W3C's name for it in answers
_PART_BYTES = 256 * 1024  # of a file that is sent


def route_path(scope: Scope) -> str:
    """The path as the routes see it: without the prefix that a host has mounted the application
    under.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and (path == root or path.startswith(root + "/")) else path


@attrs.frozen
class Shared:
    """What all exchanges of one server have in common."""

    settings: Settings
    metrics: Metrics
    auth: Auth
    limits: RequestLimits
    queue: TokenQueue
    dialect: Dialect  # until a route is found
    routes: tuple[Route, ...] = ()  # of the server
    turns: FairQueues | None = None  # where there are several keys
    ignored: Ignored = attrs.field(factory=Ignored)
    live: LiveRequests = attrs.field(factory=LiveRequests)


class Exchange:
    """A request and its answer. `send` is the server's own, so that a stream costs nothing in
    between.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, shared: Shared) -> None:
        self.scope = scope
        self.send = send
        self.shared = shared
        self.settings = shared.settings
        self.metrics = shared.metrics
        self.dialect = shared.dialect  # of the route; of the request, where it renames fields
        self.path_params: Mapping[str, Any] = {}
        self.said: dict[str, Any] = {}  # fields of the body that its path says
        self.route: str | None = "other"  # its label in metrics; None: it is not counted
        self.caller = NOBODY  # until its key has been looked at
        self.sender = sender_of(scope)
        self.path = route_path(scope)
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started = time.perf_counter()
        self.created = int(time.time())
        asked = self.headers.get(b"x-request-id", b"")
        self.request_id = asked.decode() if _SAFE_ID.fullmatch(asked) else new_request_id()
        self.status = 0  # of the answer, once it has begun
        self.model = ""  # what the request was routed to
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self.streaming = False
        self.meter: Meter | None = None  # of the answer, once it is being made
        self.trace: RequestTrace | None = None  # where requests are traced
        self._ignored: list[str] = []  # fields of the body that were not acted on
        self._names: dict[str, str] = {}  # what the body calls otherwise than the dialect
        self._finished = False  # the last bytes of the answer are on their way
        self._receive = receive
        self._incoming = Incoming(receive, self.headers, shared.settings, shared.limits.bodies)

    def require_admin(self) -> None:
        """Errors: Forbidden."""
        self.shared.auth.require_admin(self.caller, self.dialect)

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name in the URL's query."""
        found = parse_qs(self.scope["query_string"].decode("latin-1"))
        return {name: values[-1] for name, values in found.items()}

    @property
    def owner(self) -> str:
        """Whose it is what the caller has kept here."""
        if self.sender is not None:
            return self.sender.owner
        return self.shared.auth.owner(self.headers, self.dialect)

    def body_parts(self, limit: int) -> AsyncGenerator[bytes]:
        """The body as it comes, at most `limit` bytes of it. Errors: PayloadTooLarge,
        RequestTimeout, ClientGone.
        """
        return self._incoming.parts(limit)

    @property
    def large_body(self) -> bool:
        """Whether the body, which has been read, is so large that `apart` is off the event loop."""
        return self._incoming.large

    async def apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives, which reads the fields or makes something of all of them: called off
        the event loop where the body is large.
        """
        return await self._incoming.apart(work, *args, **kwargs)

    async def read(
        self, read: Callable[Concatenate[Fields, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `read` makes of the body's fields. Errors: those of `fields` and of `read`."""
        return await self.apart(read, await self.fields(), *args, **kwargs)

    async def fields(self) -> Fields:
        """The body as a JSON object, whatever its content type says. Errors: PayloadTooLarge,
        RequestTimeout, ClientGone, InvalidRequest.
        """
        ignored = None if self.settings.strict_fields else self._ignored
        body = await self._incoming.json()
        value = await self.apart(decode_object, body, self.settings.max_json_depth)
        value |= self.said
        return Fields(value, ignored=ignored, names=self._names)

    def pass_over(self, name: str, why: str) -> None:
        """Note a field of the body that cannot be acted on, by the domain's name. Errors:
        UnsupportedFeature where the operator wants such a request refused.
        """
        if self.settings.strict_fields:
            raise UnsupportedFeature(f"{field(name)} is not supported: {why}.", param=name)
        self._ignored.append(self.dialect.field(name))

    def rename(self, request_id: str | None) -> None:
        """Go by the id that the body says, if it says one. Errors: InvalidRequest."""
        if request_id is None:
            return
        if not _SAFE_ID.fullmatch(request_id.encode()):
            raise InvalidRequest(
                f"{field('request_id')} must be 1 to 128 letters, digits, or one of . _ : -",
                param="request_id",
            )
        self.request_id = request_id

    def client_present(self) -> _ClientWatch:
        """A block that is cancelled, and raises ClientGone, when the client leaves. Begin it after
        the body is read.
        """
        return _ClientWatch(self._receive, lambda: self._finished)

    async def answer_json(self, value: Any, status: int = 200) -> None:
        """Answer with `value` as JSON."""
        await self.answer(status, msgspec.json.encode(value))

    async def answer(
        self,
        status: int,
        body: bytes,
        kind: bytes | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Answer with `body`, whole; `kind` is its content type, by default the dialect's."""
        kind = kind or self.dialect.content_type
        own = [(b"content-type", kind), *headers]
        accepted = self.headers.get(b"accept-encoding", b"")
        if len(body) >= SMALLEST and (coding := chosen(accepted)) is not None:
            body = await asyncio.to_thread(packed, body, coding)
            own += [(b"content-encoding", coding.encode()), (b"vary", b"Accept-Encoding")]
        own.append((b"content-length", b"%d" % len(body)))
        await self._begin(status, own)
        self._finished = True
        await self.send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else body}
        )

    async def answer_file(self, file: BinaryIO, size: int, kind: bytes) -> None:
        """Answer with the `size` bytes of `file`, which need not fit the memory."""
        await self._begin(200, [(b"content-type", kind), (b"content-length", b"%d" % size)])
        while self.method != "HEAD" and (part := await asyncio.to_thread(file.read, _PART_BYTES)):
            await self.send({"type": "http.response.body", "body": part, "more_body": True})
        self._finished = True
        await self.send({"type": "http.response.body", "body": b""})

    async def begin_stream(self) -> None:
        """Send the headers of a stream."""
        self.streaming = True
        kind = self.dialect.framing.content_type
        own = [(b"content-type", kind), (b"cache-control", b"no-cache")]
        await self._begin(200, [*own, (b"x-accel-buffering", b"no")])

    async def end_stream(self, last: bytes) -> None:
        """Send the last bytes of the stream."""
        self._finished = True
        await self.send({"type": "http.response.body", "body": last})

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        headers += [(name, self.request_id.encode()) for name in self.dialect.id_headers]
        headers.append((b"x-content-type-options", b"nosniff"))
        if self.trace is not None:
            headers += [(name, self.trace.parent) for name in _TRACE_HEADERS]
        if self._ignored:
            headers.append((b"x-openllm-ignored", self.shared.ignored.header(self._ignored)))
        if self.caller.account is not None:
            for what, rate in self.caller.account.allowances().known():
                headers += self.dialect.allowance_headers(what, rate)
        headers += self.extra_headers
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def fail(self, error: OpenLLMError, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer with `error`: as a status while that is possible, as the last event of a stream
        after that.
        """
        if self.status and not self.streaming:
            return  # a whole answer has begun; the connection ends it
        failure = tell(error, self.dialect.renamed(**self._names))
        if self.streaming:
            self.status = failure.status
            await self.end_stream(self.dialect.last_words(failure))
            return
        own = list(headers)
        if isinstance(error, Unauthorized):
            own.append((b"www-authenticate", self.dialect.challenge))
        if isinstance(error, Retryable):
            own.append((b"retry-after", b"%d" % error.retry_after))
        body = msgspec.json.encode(self.dialect.error(failure))
        broken_off = self._incoming.begun and not self._incoming.whole
        if not (broken_off or isinstance(error, PayloadTooLarge | RequestTimeout)):
            await self.answer(failure.status, body, headers=own)
            return
        own += [
            (b"connection", b"close"),
            (b"content-type", self.dialect.content_type),
            (b"content-length", b"%d" % len(body)),
        ]
        await self._begin(failure.status, own)
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if not isinstance(error, RequestTimeout):
            await self._incoming.drop()
        await self.send({"type": "http.response.body", "body": b""})


class _ClientWatch:
    """Cancels the task that entered it once the client has left; the same bookkeeping as
    asyncio.timeout.
    """

    def __init__(self, receive: Receive, answered: Callable[[], bool]) -> None:
        self._receive = receive
        # after the last byte the server reports a disconnect too, and it means nothing
        self._answered = answered
        self._gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs is in a task
        self._task = task
        self._cancelling = task.cancelling()
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered():
            self._gone = True
            self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watcher.cancel()
        if (
            self._gone
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise ClientGone from None
