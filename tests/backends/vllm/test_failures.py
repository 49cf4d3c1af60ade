"""vLLM's exceptions as ours."""

from __future__ import annotations

import pytest

from openllm.backends.vllm.failures import start_error, translate
from openllm.errors import (
    ConfigurationError,
    EngineDead,
    EngineError,
    InvalidRequest,
    MissingDependency,
    OpenLLMError,
    Overloaded,
)


class VLLMClientError(Exception):
    pass


class EngineDeadError(Exception):
    pass


class EngineGenerateError(Exception):
    pass


class QueueOverflowError(Exception):
    pass


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (EngineDeadError("x"), EngineDead, "has stopped"),
        (QueueOverflowError(), Overloaded, "full"),
        (VLLMClientError("too many (parameter=n, value=900)"), InvalidRequest, "too many"),
        (ValueError("two\n lines"), InvalidRequest, "two lines"),
        (caused(EngineGenerateError(), ValueError("inner")), InvalidRequest, "inner"),
        (caused(EngineGenerateError(), KeyError("secret")), EngineError, "KeyError"),
        (RuntimeError("/a/path"), EngineError, "RuntimeError"),
        (ConfigurationError("ours"), ConfigurationError, "ours"),
    ],
)
def test_errors_of_requests(error: Exception, kind: type[OpenLLMError], words: str) -> None:
    made = translate(error)
    assert type(made) is kind
    assert words in made.message
    assert "\n" not in str(made)
    assert "/a/path" not in str(made)
    assert "value=900" not in str(made)


TOO_LONG = (
    "1 validation error for ModelConfig\n  Value error, User-specified max_model_len (4096) is"
    " greater than the derived max_model_len (max_position_embeddings=512.0 or"
    " model_max_length=None in model's config.json)."
)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            ImportError("No module named 'ijson'"),
            MissingDependency,
            "No module named 'ijson'. Install it.",
        ),
        (OSError("not a valid JSON file"), EngineDead, "not a valid JSON"),
        (
            ValueError(TOO_LONG),
            ConfigurationError,
            "max_model_len 4096 is more than the model's 512. Ask for at most",
        ),
        (
            ValueError("Model architectures ['NewForCausalLM'] are not supported"),
            ConfigurationError,
            "backend=pytorch",
        ),
        (ValueError("a b\nc"), ConfigurationError, "refuses this configuration: a b c"),
        (NotImplementedError("pp"), ConfigurationError, "pp"),
        (RuntimeError("Engine core initialization failed."), EngineDead, "did not start"),
        (FileNotFoundError("gone"), EngineDead, "gone"),
    ],
)
def test_errors_of_the_start(error: Exception, kind: type[OpenLLMError], words: str) -> None:
    made = start_error(error)
    assert type(made) is kind
    assert words in str(made)
    assert "\n" not in str(made)
