"""Variables that Kubernetes sets in a pod for the Services beside it."""

from __future__ import annotations

import logging

import pytest

from openllm.config.settings import Settings, unknown_variables

# What a Service `openllm` with a port `http` sets, and what one called `openllm-chat` does.
LINKS = {
    "OPENLLM_SERVICE_HOST": "10.96.0.7",
    "OPENLLM_SERVICE_PORT": "80",
    "OPENLLM_SERVICE_PORT_HTTP": "80",
    "OPENLLM_PORT": "tcp://10.96.0.7:80",
    "OPENLLM_PORT_80_TCP": "tcp://10.96.0.7:80",
    "OPENLLM_PORT_80_TCP_PROTO": "tcp",
    "OPENLLM_PORT_80_TCP_PORT": "80",
    "OPENLLM_PORT_80_TCP_ADDR": "10.96.0.7",
    "OPENLLM_CHAT_SERVICE_HOST": "fd00::7",
    "OPENLLM_CHAT_PORT": "tcp://[fd00::7]:80",
    "OPENLLM_CHAT_PORT_80_UDP": "udp://[fd00::7]:80",
}


def test_a_service_called_openllm_sets_no_port(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Settings.from_env({**LINKS, "OPENLLM_DRAIN_SECONDS": "7"}) == Settings(
            drain_seconds=7
        )
    (line,) = caplog.messages
    assert line.startswith("OPENLLM_PORT=tcp://10.96.0.7:80 is Kubernetes' address")
    assert "enableServiceLinks: false" in line
    assert unknown_variables(LINKS) == []


def test_a_slip_of_the_pen_is_still_named() -> None:
    assert unknown_variables({"OPENLLM_PROT": "80", "OPENLLM_CHAT_PORT": "80"}) == [
        "Unknown variable OPENLLM_CHAT_PORT. Did you mean OPENLLM_PORT?",
        "Unknown variable OPENLLM_PROT. Did you mean OPENLLM_PORT?",
    ]
