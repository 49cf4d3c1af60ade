"""What goes wrong with a request, as openllm's own errors: by the code the server gives, else by
the status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openllm import errors
from openllm.errors import BadAnswer, OpenLLMError, Retryable, Unreachable, option

_BY_STATUS: dict[int, type[OpenLLMError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    408: errors.RequestTimeout,
    409: errors.Conflict,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.InvalidRequest,
    429: errors.RateLimited,
    503: errors.Overloaded,
}


def _kinds(kind: type[OpenLLMError] = OpenLLMError) -> Iterator[type[OpenLLMError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds(child)


def refused(status: int, reason: str, body: str, wait: float | None) -> OpenLLMError:
    """The error of an answer that is none; `wait` is its Retry-After in seconds."""
    said = _said(body)
    code = said.get("code")
    message = said.get("message")
    hint = None
    if not message:
        message = f"The server answered {status} {reason}".rstrip() + "."
        hint = "Is it an openllm server, or a proxy before one?" if _is_page(body) else None
    kind = next(
        (kind for kind in _kinds() if code is not None and kind.default_code == code),
        _BY_STATUS.get(status, OpenLLMError),
    )
    if issubclass(kind, Retryable):
        return kind(message, hint=hint, retry_after=round(wait or 1))
    return kind(message, hint=hint, param=said.get("param"), code=code)


def broken_off(event: dict[str, Any]) -> OpenLLMError:
    """The error that a stream ends with."""
    return refused(0, "", json.dumps(event), None)


def said_error(event: object) -> bool:
    return isinstance(event, dict) and bool(event.get("error"))


def for_admin(error: OpenLLMError, key: str | None) -> OpenLLMError:
    """`error` of a call that needs the admin key, with a hint that names it."""
    if isinstance(error, errors.Unauthorized):
        said = "Set" if key is None else "Look at"
        error.hint = f"{said} the admin key: {option('admin_key')}."
    return error


def code_of(body: str) -> str | None:
    """The code of an error, where its body has one."""
    return _said(body).get("code")


def nobody(endpoint: str) -> Unreachable:
    return Unreachable(f"No server answers at {endpoint}.", hint="Start one: openllm start.")


def lost(endpoint: str, error: Exception) -> Unreachable:
    return Unreachable(
        f"The connection to {endpoint} failed: {str(error).rstrip('.') or type(error).__name__}."
    )


def cut(endpoint: str) -> Unreachable:
    return Unreachable(
        f"The answer from {endpoint} broke off before its end.",
        hint="Ask again; the server's log may say why.",
    )


def late(endpoint: str, seconds: float) -> Unreachable:
    return Unreachable(
        f"{endpoint} took longer than {seconds:g} s.", hint="Allow a longer timeout."
    )


def parsed(text: str) -> Any:
    """`text` as JSON. Errors: BadAnswer."""
    try:
        return json.loads(text)
    except ValueError:
        raise BadAnswer(
            "The server's answer is not JSON.", hint="Is it an openllm server?"
        ) from None


def misshapen(what: str) -> BadAnswer:
    return BadAnswer(f"The server's answer has no {what}.", hint="Is it an openllm server?")


def _said(body: str) -> dict[str, str]:
    """The texts of an error body: an object under `error`, or a text there or under `detail`."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value.get("detail"))
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        return {}
    return {key: text for key, text in error.items() if isinstance(text, str) and text}


def _is_page(body: str) -> bool:
    return body.lstrip().startswith("<")
