"""vLLM's exceptions as ours: one line, no traceback, and what to do next."""

from __future__ import annotations

import re

from openllm.errors import (
    ConfigurationError,
    EngineDead,
    EngineError,
    InvalidRequest,
    MissingDependency,
    OpenLLMError,
    Overloaded,
    WeightsError,
    option,
)
from openllm.weights.hub import config_errors

RESTART = "Restart the service; its log says why the engine stopped."
_EXTRAS = re.compile(r"\s*\((?:parameter|value)=.*\)$", re.DOTALL)  # vLLM appends what was sent
_TOO_LONG = re.compile(
    r"max_model_len \((\d+)\) is greater than the derived max_model_len \([^=]*=([\d.]+)"
)
_UNKNOWN_MODEL = re.compile(r"[Mm]odel architectures? \[?'?(\w+)'?\]? (?:are|is|has|failed|not)")


def translate(error: BaseException) -> OpenLLMError:
    """What a request's reader gets for an exception of vLLM."""
    if isinstance(error, OpenLLMError):
        return error
    name = type(error).__name__
    if name == "EngineDeadError":
        return EngineDead("The vLLM engine has stopped.", hint=RESTART)
    if name in ("QueueOverflowError", "MaxQueuedTokensError"):
        return Overloaded("The engine's queue is full.", hint="Try again later.")
    if name == "EngineGenerateError" and error.__cause__ is not None:
        return translate(error.__cause__)
    if isinstance(error, ValueError | TypeError) or _is_a(error, "VLLMClientError"):
        return InvalidRequest(_sentence(error), param=getattr(error, "parameter", None))
    return EngineError(f"vLLM failed on this request ({name}).", hint="See the server's log.")


def request_errors() -> tuple[type[Exception], ...]:
    """What AsyncLLM may raise for a request: the roots of vLLM's trees, which differ between
    versions.
    """
    import vllm.exceptions
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    root = getattr(vllm.exceptions, "VLLMError", vllm.exceptions.VLLMValidationError)
    return (
        root,
        EngineDeadError,
        EngineGenerateError,
        ValueError,
        TypeError,
        RuntimeError,
        KeyError,
    )


def start_error(error: BaseException) -> OpenLLMError:
    """What `start` raises for an exception of vLLM before or while the engine comes up."""
    if isinstance(error, OpenLLMError):
        return error
    if isinstance(error, ImportError):
        return MissingDependency(
            f"vLLM lacks what this configuration needs: {_sentence(error)}.", hint="Install it."
        )
    text = str(error)
    if found := _TOO_LONG.search(text):
        asked, limit = found[1], found[2].partition(".")[0]
        return ConfigurationError(
            f"max_model_len {asked} is more than the model's {limit}.",
            hint=f"Ask for at most {limit}.",
        )
    if found := _UNKNOWN_MODEL.search(text):
        return ConfigurationError(
            f"vLLM does not support {found[1]}.",
            hint=f"PyTorch would serve it: {option('backend', 'pytorch')}.",
            param="backend",
        )
    if isinstance(error, config_errors()):
        return WeightsError(
            f"The model's config.json cannot be used: {_sentence(error)}.", hint="Fetch it again."
        )
    if isinstance(error, ValueError | TypeError | KeyError | NotImplementedError | AssertionError):
        return ConfigurationError(f"vLLM refuses this configuration: {_sentence(error)}")
    return EngineDead(
        f"The vLLM engine did not start: {_sentence(error)}", hint="Its log above says why."
    )


def import_error(error: BaseException) -> MissingDependency:
    """What an exception while vLLM is imported means: the installation is broken."""
    return MissingDependency(
        f"vLLM is installed and cannot be imported: {_sentence(error)}", hint="Reinstall it."
    )


def _is_a(error: BaseException, name: str) -> bool:
    """Whether a class called `name` is among the bases: vLLM's error tree differs between
    versions.
    """
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _sentence(error: BaseException) -> str:
    """The first line of what `error` says: pydantic's first complaint, vLLM's text without what was
    sent.
    """
    details = getattr(error, "errors", None)
    if callable(details):
        first = details()[0]
        text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if first["type"] not in ("value_error", "assertion_error"):
            text = f"{'.'.join(map(str, first['loc']))}: {text}, got {first['input']!r}"
    else:
        text = _EXTRAS.sub("", str(error))
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= 400 else f"{line[:397]}..."
