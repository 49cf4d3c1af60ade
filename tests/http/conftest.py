"""The server of the wire formats' tests, for those of the server itself."""

from tests.protocols.conftest import client, echo_model, official, running, strict_client

__all__ = ["client", "echo_model", "official", "running", "strict_client"]
