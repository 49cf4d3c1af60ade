"""What an error shows: one line in OpenAI's shape, and nothing of the machine."""

from __future__ import annotations

import pytest

from openllm.errors import (
    ConfigurationError,
    ContextLengthExceeded,
    EngineDead,
    EngineError,
    ModelNotFound,
    OpenLLMError,
    WeightsError,
)
from openllm.http.exchange import error_object, route_path


def test_the_shape_is_openais() -> None:
    error = ContextLengthExceeded("Too long.", hint="Shorten it.", param="messages")
    assert error_object(error) == {
        "error": {
            "message": "Too long. Shorten it.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }


@pytest.mark.parametrize("kind", [EngineError, EngineDead, WeightsError, ConfigurationError])
@pytest.mark.parametrize(
    "path", ["/srv/models/x", "C:\\models\\x", "\\\\host\\share", "'/srv/models/x'"]
)
def test_what_an_engine_says_is_shown_without_paths(kind: type[OpenLLMError], path: str) -> None:
    message = error_object(kind(f"Reading {path} failed, see {path}.\nTraceback: line 1"))["error"][
        "message"
    ]
    assert "models" not in message
    assert "share" not in message
    assert "Traceback" not in message
    assert message.startswith("Reading ")


def test_what_the_caller_wrote_is_shown_as_it_was() -> None:
    assert (
        "org/name"
        in error_object(ModelNotFound("The model 'org/name' does not exist."))["error"]["message"]
    )
    assert (
        "/v1/models"
        in error_object(ModelNotFound("No.", hint="See /v1/models."))["error"]["message"]
    )


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/a", "", "/a"),
        ("/m/a", "/m", "/a"),
        ("/m", "/m", ""),
        ("/mm/a", "/m", "/mm/a"),
        ("/a", "/m", "/a"),
    ],
)
def test_the_path_is_the_routes(path: str, root: str, found: str) -> None:
    assert route_path({"path": path, "root_path": root}) == found
