"""How one vendor speaks over HTTP: framing, errors, keys, and what it calls a field.

An `Exchange` asks the dialect of its route, and knows no vendor.
"""

from __future__ import annotations

import abc
import copy
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from openllm.config.words import VariableWords
from openllm.errors import ConfigurationError, EngineError, OpenLLMError, WeightsError
from openllm.http.body.fields import Written
from openllm.http.framing import SSE, Framing
from openllm.http.keys.account import Allowance

JSON = b"application/json"
_PATHLIKE = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s'\",;]+")


@attrs.frozen
class Failure:
    """An error as a client gets to see it: in the dialect's words, and nothing of the machine."""

    status: int
    kind: str  # `OpenLLMError.kind`
    message: str  # what, why and what to do next, in one line
    param: str | None = None  # the field at fault
    code: str | None = None


class Dialect(VariableWords, abc.ABC):
    """One vendor's. A subclass sets what differs from plain JSON, server-sent events and bearer
    keys, and says how an error looks; its one instance stands in the vendor's endpoints.
    """

    content_type = JSON  # of a whole answer
    framing: Framing = SSE
    end = b""  # what a stream that went well ends with
    prefixes: tuple[str, ...] = ()  # paths without a route below these are answered in this dialect
    fields: Mapping[str, str] = {}  # the domain's name of a request's field -> the vendor's
    calls: Mapping[str, str] = {}  # what can be called, by its name in Python -> the vendor's route
    id_headers: tuple[bytes, ...] = (b"x-request-id",)  # of an answer, with the request's id
    challenge = b'Bearer realm="openllm"'  # the www-authenticate of a 401
    key_hint = "`Authorization: Bearer KEY`"  # where a key is sent
    key_headers: tuple[bytes, ...] = (b"authorization",)  # that pages of other origins may set

    @abc.abstractmethod
    def error(self, failure: Failure) -> Any:
        """The body of an answer that is an error."""

    def status(self, error: OpenLLMError) -> int:
        """The HTTP status of `error`."""
        return error.status

    def frame(self, value: Any) -> bytes:
        """One value of a stream."""
        return self.framing.frame(value)

    def last_words(self, failure: Failure) -> bytes:
        """What a stream that has begun ends with when it fails."""
        return self.frame(self.error(failure))

    def speaks(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request with these headers is of one of the vendor's own clients: asked where
        several vendors have the same path.
        """
        return False

    def allowance_headers(self, what: bytes, rate: Allowance) -> list[tuple[bytes, bytes]]:
        """What a caller is told of one limit of its key; `what` it counts is b"requests" or
        b"tokens". These are OpenAI's names, which many others have taken over.
        """
        return [
            (b"x-ratelimit-limit-" + what, b"%d" % rate.limit),
            (b"x-ratelimit-remaining-" + what, b"%d" % rate.remaining),
            (b"x-ratelimit-reset-" + what, _duration(rate.reset)),
        ]

    def spellings(self, path: str) -> Iterable[str]:
        """How else a path that has no route may have been meant, by clients whose base address is
        not quite the vendor's.
        """
        return ()

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        """The key that a request carries; b"" for none."""
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        return value.strip() if scheme.lower() == b"bearer" else b""

    def field(self, name: str) -> str:
        return self.fields.get(name, name)

    def call(self, name: str) -> str:
        return self.calls.get(name, name)

    def renamed(self, **fields: str) -> Self:
        """The same dialect for requests that call some fields otherwise."""
        if not fields:
            return self
        other = copy.copy(self)
        other.fields = {**self.fields, **fields}
        other.prefixes = ()
        return other


def tell(error: OpenLLMError, dialect: Dialect) -> Failure:
    """`error` in the words of `dialect`. What an engine or the disk had to say is shown without
    paths and in one line.
    """
    message = error.said(dialect)
    if isinstance(error, EngineError | WeightsError | ConfigurationError):
        message = without_paths(message)
    param = error.param
    if param is not None:
        param = str(param) if isinstance(param, Written) else dialect.field(param)
    return Failure(dialect.status(error), error.kind, message, param, error.code)


def _duration(seconds: float) -> bytes:
    """As Go writes it, and OpenAI: 6m0s, 1.5s."""
    minutes, rest = divmod(math.ceil(seconds * 1000), 60_000)
    return (f"{minutes}m" if minutes else "").encode() + f"{rest / 1000:g}s".encode()


def without_paths(message: str) -> str:
    """The first line of `message` with everything that looks like a path of this machine taken
    out.
    """
    return _PATHLIKE.sub("(a file)", message.partition("\n")[0])
