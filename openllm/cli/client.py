"""The client that commands ask a server with: its address and keys from options and variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openllm.cli.given.options import given_settings
from openllm.client import Client


def connect(options: Mapping[str, Any]) -> Client:
    """A client of --endpoint. Errors: ConfigurationError for an address that is none."""
    settings = given_settings(options)
    return Client(settings.endpoint, key=settings.api_key, admin_key=settings.admin_key)
