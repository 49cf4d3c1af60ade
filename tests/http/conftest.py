"""The echo model and the servers around it that the tests of the wire formats use."""

from __future__ import annotations

from tests.protocols.conftest import client, echo_model, official, running

__all__ = ["client", "echo_model", "official", "running"]
