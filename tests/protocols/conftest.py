"""One echo model, and one server around it, for all tests of the wire formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.scripted import TEMPLATE, Scripted
from tests.serving import Running, serve, write_echo_model


@pytest.fixture(scope="session")
def echo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("echo") / "echo-model")


def echo_llm(path: Path, **spec: Any) -> LLM:
    return LLM.from_spec(
        LLMSpec(**{"model_id": str(path), "name": "echo", "backend": "echo", **spec}), path
    )


@pytest.fixture(scope="session")
def running(echo_model: Path) -> Iterator[Running]:
    with serve(echo_llm(echo_model)) as found:
        yield found


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client() as found:
        yield found


@pytest.fixture(scope="session")
def strict_client(echo_model: Path) -> Iterator[httpx.Client]:
    """Of a server that refuses what it does not act on."""
    settings = Settings(strict_fields=True)
    with serve(echo_llm(echo_model), settings=settings) as strict, strict.client() as found:
        yield found


@pytest.fixture(scope="session")
def official(running: Running) -> Iterator[openai.OpenAI]:
    with running.openai() as found:
        yield found


@pytest.fixture(scope="session")
def scripted(echo_model: Path) -> Iterator[tuple[Scripted, httpx.Client]]:
    """A model that writes what it is told, and whose template shows tools and thoughts."""
    found = Scripted(echo_model, TEMPLATE)
    with serve(found.llm) as running, running.client() as client:
        yield found, client
