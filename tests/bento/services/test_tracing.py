"""Traces of a process that `openllm start` runs: where BentoML's configuration says, and without a
collector.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.bento.conftest import free_port, running
from tests.bento.test_serve import start
from tests.collector import collecting

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="the exporter of traces is not installed"
)

BODY = {"prompt": "hello world", "max_tokens": 3}


def test_bentomls_configuration_says_where_traces_go(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    with collecting() as collector:
        otlp = {"protocol": "http", "endpoint": f"{collector.url}/v1/traces"}
        tracing = {"exporter_type": "otlp", "sample_rate": 1.0, "otlp": otlp}
        config = tmp_path / "bentoml.yaml"
        config.write_text(yaml.safe_dump({"services": {"tracing": tracing}}))
        with running(start(echo_model), tmp_path / "log", BENTOML_CONFIG=str(config)) as server:
            server.wait_ready()
            answer = httpx.post(f"{server.url}/v1/completions", json=BODY)
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        spans = collector.wait(lambda span: True, 4)
    assert {span.name for span in spans} == {"POST /v1/completions", "queue", "prefill", "decode"}
    assert {span.trace_id for span in spans} == {answer.headers["traceparent"].split("-")[1]}


def test_a_collector_that_is_gone_holds_up_nothing(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with running(start(echo_model), tmp_path / "log", **variables) as server:
        server.wait_ready()
        assert httpx.post(f"{server.url}/v1/completions", json=BODY).status_code == 200
        begun = time.monotonic()
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - begun < 10  # by itself an exporter tries for half a minute
    assert "Traceback" not in server.text()
