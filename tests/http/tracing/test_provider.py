"""Which exporter the variables ask for, and what is said where it is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openllm.errors import ConfigurationError, MissingDependency, OpenLLMError
from openllm.http.tracing import provider
from openllm.http.tracing.provider import check_exporters, exporter_names, tracing_from
from tests.protocols.conftest import echo_llm
from tests.serving import serve

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "chat"}, []),
        (ENDPOINT, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here/x"}, ["otlp_proto_http"]),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (
            ENDPOINT
            | {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ["otlp_proto_http"],
        ),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, []),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
    ],
)
def test_the_variables_name_an_exporter(said: dict[str, str], names: list[str]) -> None:
    assert exporter_names(said) == names


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, ConfigurationError, "'carrier-pigeon'"),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "otlp"},
            MissingDependency,
            "pip install opentelemetry-exporter-otlp-proto-grpc",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_PYTHON_EXCLUDED_URLS": "a,("},
            ConfigurationError,
            "no regular expression",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    said: dict[str, str], kind: type[OpenLLMError], words: str
) -> None:
    with pytest.raises(kind, match=r"^[^\n]+$") as caught:
        tracing_from(said)
    assert words in str(caught.value)


def test_an_address_for_all_signals_stops_no_server_that_cannot_send_traces(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "entry_points", lambda **_: ())
    assert tracing_from(ENDPOINT) is None
    check_exporters(ENDPOINT)
    assert f"{provider.PACKAGE} is not installed" in caplog.text
    with pytest.raises(MissingDependency):
        tracing_from({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"})


def test_disabled_is_off_whatever_else_is_said() -> None:
    said = {"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "carrier-pigeon"}
    assert tracing_from(said) is None
    check_exporters(said)


def test_without_variables_nothing_is_traced_or_imported(echo_model: Path) -> None:
    assert tracing_from({}) is None
    with serve(echo_llm(echo_model)) as running, running.client() as client:
        answer = client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 2})
    assert answer.status_code == 200
    assert not {"traceparent", "traceresponse"} & set(answer.headers)
    code = (
        "import sys, openllm.http.app; from openllm.http.tracing.provider import tracing_from;"
        "tracing_from({});"
        "assert not {'opentelemetry.sdk.trace', 'openllm.http.tracing.spans'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
