"""Every error openllm raises on purpose: what went wrong, what to do about it, and the HTTP status
it maps to.

OpenLLMError
├── InvalidRequest            400  a value in a request or call that can never work
│   ├── ContextLengthExceeded 400  prompt plus answer do not fit the model's context
│   └── UnsupportedFeature    400  the chosen engine cannot do this
├── Unauthorized              401  no key, or a wrong one
├── Forbidden                 403  the key is not allowed to do this
├── NotFound                  404  no such route, model or adapter
│   ├── ModelNotFound
│   └── AdapterNotFound
├── MethodNotAllowed          405
├── Conflict                  409  the thing is in use, or exists already
│   └── RequestCancelled      409  somebody has cancelled it while it ran
├── RequestTimeout            408  the request itself did not come in time
├── PayloadTooLarge           413
├── UnsupportedMediaType      415  a body in an encoding that is not read
├── RateLimited               429  this caller sends too much
├── Overloaded                503  the queue is full; try again
├── ReplicaLost               503  one of several engines has ended; another takes the next request
├── EngineError               500  the engine failed on this request
│   └── EngineDead            503  the engine is gone; nothing can be served any more
├── ConfigurationError             an option, variable, recipe or spec that cannot be (exit code 2)
│   ├── UnknownFamily
│   └── UnsupportedCombination
├── WeightsError                   weights, tokenizer or adapter are missing, unsafe or do not fit
├── MissingDependency              an extra is not installed
├── BrokenExtension                what another distribution adds to openllm cannot be loaded
├── BuildError                     packing a Bento failed
├── DeployError                    BentoCloud refused, failed or is out of reach
├── ServeError                     serving could not begin: port in use, service did not come up
├── Unreachable                    no server answers, or the connection to it was lost
└── BadAnswer                      what a server answered is not what this API answers

An error speaks the domain's words. What the front doors call differently (options of a deployment,
fields of a request, calls) is marked in its text by `option`, `field` and `call`, and whoever shows
the error says it in its own `Words`: the command line `--max-model-len 4096`, a caller in Python
`max_model_len=4096`.
"""

from __future__ import annotations

import re
from typing import ClassVar

# A marked name: start of text, "kind:name" or "kind:name=value", end of text. repr() escapes both
# ends, so what somebody sent and an error shows is never taken for one.
_MARK = re.compile("\x02(option|field|call):([^\x02\x03=]+)(?:=([^\x02\x03]*))?\x03")


def option(name: str, value: object = None) -> str:
    """An option of a deployment or a process, in the text of an error; `value` is what to give it.

    `name` is a field of LLMSpec or Settings, `engine_args.NAME` one of an engine's own options, or
    a parameter of the function that raises.
    """
    return f"\x02option:{name}\x03" if value is None else f"\x02option:{name}={value}\x03"


def field(name: str) -> str:
    """What a request says (a name of SamplingParams, GenerationRequest, Conversation), in the text
    of an error.
    """
    return f"\x02field:{name}\x03"


def call(name: str) -> str:
    """Something to be called or looked up, by its name in Python, in the text of an error."""
    return f"\x02call:{name}\x03"


class Words:
    """What one front door calls the marked names of an error. These are Python's."""

    def option(self, name: str, value: str | None) -> str:
        return name if value is None else f"{name}={value}"

    def field(self, name: str) -> str:
        return name

    def call(self, name: str) -> str:
        return name


PYTHON = Words()


def say(text: str, words: Words = PYTHON) -> str:
    """`text` with its marked names in `words`."""

    def said(mark: re.Match[str]) -> str:
        kind, name, value = mark.groups()
        if kind == "option":
            return words.option(name, value)
        return words.field(name) if kind == "field" else words.call(name)

    return _MARK.sub(said, text)


class OpenLLMError(Exception):
    """Base of the tree. `message` says what and why, `hint` what to do next, `param` names the
    field or option at fault; names in the first two are marked, see `said`.
    """

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ):
        super().__init__(say(message))
        self.message = message
        self.hint = hint
        self.param = param
        self.code = code or self.default_code

    @property
    def text(self) -> str:
        """The message, then the hint, with the names still marked: to be put into another error."""
        return f"{self.message} {self.hint}" if self.hint else self.message

    def said(self, words: Words) -> str:
        """One line: the message, then the hint, in the words of a front door."""
        return say(self.text, words)

    def __str__(self) -> str:
        return self.said(PYTHON)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__), self.message)


def _rebuild(kind: type[OpenLLMError], state: dict[str, object], message: str) -> OpenLLMError:
    error = kind.__new__(kind)
    Exception.__init__(error, say(message))
    error.__dict__.update(state)
    return error


class InvalidRequest(OpenLLMError):
    status = 400
    kind = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    default_code = "context_length_exceeded"


class UnsupportedFeature(InvalidRequest):
    default_code = "unsupported_feature"


class Unauthorized(OpenLLMError):
    status = 401
    kind = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(OpenLLMError):
    status = 403
    kind = "permission_error"


class NotFound(OpenLLMError):
    status = 404
    kind = "not_found_error"


class ModelNotFound(NotFound):
    default_code = "model_not_found"


class AdapterNotFound(NotFound):
    default_code = "adapter_not_found"


class MethodNotAllowed(OpenLLMError):
    status = 405
    kind = "invalid_request_error"


class Conflict(OpenLLMError):
    status = 409
    kind = "conflict_error"


class RequestCancelled(Conflict):
    default_code = "request_cancelled"


class RequestTimeout(OpenLLMError):
    status = 408
    kind = "invalid_request_error"
    default_code = "request_timeout"


class UnsupportedMediaType(OpenLLMError):
    status = 415
    kind = "invalid_request_error"
    default_code = "unsupported_media_type"


class PayloadTooLarge(OpenLLMError):
    status = 413
    kind = "invalid_request_error"
    default_code = "payload_too_large"


class Retryable(OpenLLMError):
    """An error that passes by itself; `retry_after` is in seconds and becomes the Retry-After
    header.
    """

    def __init__(self, message: str, *, hint: str | None = None, retry_after: int = 1):
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimited(Retryable):
    status = 429
    kind = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class Overloaded(Retryable):
    status = 503
    kind = "overloaded_error"
    default_code = "overloaded"


class ReplicaLost(Retryable):
    status = 503
    default_code = "replica_lost"


class EngineError(OpenLLMError):
    default_code = "engine_error"


class EngineDead(EngineError):
    status = 503
    default_code = "engine_dead"


class ConfigurationError(OpenLLMError):
    status = 400
    kind = "invalid_request_error"
    exit_code = 2


class UnknownFamily(ConfigurationError):
    pass


class UnsupportedCombination(ConfigurationError):
    pass


class WeightsError(OpenLLMError):
    pass


class MissingDependency(OpenLLMError):
    pass


class BrokenExtension(OpenLLMError):
    pass


class BuildError(OpenLLMError):
    pass


class DeployError(OpenLLMError):
    pass


class ServeError(OpenLLMError):
    pass


class Unreachable(OpenLLMError):
    pass


class BadAnswer(OpenLLMError):
    pass
