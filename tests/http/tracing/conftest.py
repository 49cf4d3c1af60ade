"""The echo model of the wire formats' tests."""

from tests.protocols.conftest import echo_model

__all__ = ["echo_model"]
