"""Clients of a running server, asyncio's and a blocking one: HTTP alone, no engine and no BentoML.

To add a call: a method of `asynchronous.AsyncClient`, and its line in `blocking.Client`.
"""

from openllm.client.asynchronous import AsyncClient
from openllm.client.blocking import Client
from openllm.client.connection import Access
from openllm.client.retries import Retries
from openllm.client.values import (
    ChatAnswer,
    ChatDelta,
    Ranked,
    ServedModel,
)

__all__ = [
    "Access",
    "AsyncClient",
    "ChatAnswer",
    "ChatDelta",
    "Client",
    "Ranked",
    "Retries",
    "ServedModel",
]
