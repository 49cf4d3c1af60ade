"""A model that writes what it is told, and the official client, which checks its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import openai
import pytest

from openllm.config.settings import Settings
from tests.protocols.openai.test_tools import TEMPLATE
from tests.scripted import Scripted
from tests.serving import LONG_WAIT, Running, serve


@attrs.frozen
class Told:
    """The scripted model behind a server."""

    scripted: Scripted
    running: Running
    client: openai.OpenAI
    http: httpx.Client

    def writes(self, script: str) -> None:
        self.scripted.backend.script = script

    def prompt(self) -> str:
        """The prompt of the last request."""
        return self.scripted.last_prompt()

    def create(self, script: str = "Hi.", **asked: Any) -> Any:
        """A response that says `script`."""
        self.writes(script)
        return self.client.responses.create(**{"input": "hello", **asked})

    def events(self, script: str = "Hi.", **asked: Any) -> list[Any]:
        """The events of a stream that says `script`."""
        self.writes(script)
        return list(self.client.responses.create(**{"input": "hello", **asked}, stream=True))

    def post(self, **body: Any) -> httpx.Response:
        return self.http.post("/v1/responses", json={"input": "hello", **body})


def tell(path: Path, template: str = TEMPLATE, settings: Settings | None = None) -> Iterator[Told]:
    scripted = Scripted(path, template)
    with (
        serve(scripted.llm, settings=settings) as running,
        running.client() as http,
        strict(running) as client,
    ):
        yield Told(scripted, running, client, http)


def strict(running: Running, key: str = "none") -> openai.OpenAI:
    """The official client, refusing whatever its types do not say."""
    return openai.OpenAI(
        base_url=f"{running.url}/v1",
        api_key=key,
        max_retries=0,
        timeout=LONG_WAIT,
        _strict_response_validation=True,
    )


@pytest.fixture(scope="package")
def told(echo_model: Path) -> Iterator[Told]:
    yield from tell(echo_model)
