"""A browser, and servers whose chat page it opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.browser import Page, chromium, find_chromium
from tests.scripted import TEMPLATE, Scripted
from tests.serving import Running, serve, write_echo_model

CHROMIUM = find_chromium()
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
ANSWER = ".turn.assistant:not(.live)"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("browser") / "echo-model")


def echo(weights: Path, **spec: Any) -> LLM:
    return LLM.from_spec(LLMSpec(model_id=str(weights), backend="echo", **spec), weights)


@pytest.fixture(scope="module")
def running(weights: Path) -> Iterator[Running]:
    slow = {"delay": 0.05}
    with serve(echo(weights, name="echo"), echo(weights, name="slow", engine_args=slow)) as found:
        yield found


@pytest.fixture(scope="module")
def scripted(weights: Path) -> Scripted:
    return Scripted(weights, TEMPLATE, tool_format="hermes", reasoning_format="think")


@pytest.fixture(scope="module")
def served(scripted: Scripted, weights: Path) -> Iterator[Running]:
    with serve(scripted.llm, echo(weights, name="echo")) as found:
        yield found


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path / "profile") as found:
        yield found


def ask(page: Page, text: str) -> None:
    page.type("#input", text)
    page.press_enter()
