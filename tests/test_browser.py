"""The chat page in a real browser: it answers, stops, asks for its key, and shows a model's markup
as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.browser import Page, chromium, find_chromium
from tests.serving import Running, serve, write_echo_model

CHROMIUM = find_chromium()
pytestmark = [
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


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path / "profile") as found:
        yield found


def ask(page: Page, text: str) -> None:
    page.type("#input", text)
    page.press_enter()


def test_a_conversation(running: Running, page: Page) -> None:
    page.open(running.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    ask(page, "hello world")
    page.wait(f"document.querySelector('{ANSWER} small')")
    assert page.texts(".turn.user") == ["hello world"]
    [answer] = page.texts(ANSWER)
    assert answer.startswith("hello world")
    assert "tokens in" in answer
    ask(page, "and more")
    page.wait(f"document.querySelectorAll('{ANSWER} small').length === 2")
    assert (
        "hello worldhello worldand more" in page.texts(ANSWER)[1]
    )  # the model was shown the whole conversation
    page.click("#clear")
    assert page.texts(".turn") == []
    assert page.problems == []


def test_markup_stays_text(running: Running, page: Page) -> None:
    page.open(running.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><b>bold</b>'
    ask(page, attack)
    page.wait(f"document.querySelector('{ANSWER} small')")
    assert page.texts(ANSWER)[0].startswith(attack)
    assert page.run("document.querySelectorAll('#log img, #log script, #log b').length") == 0
    assert page.run("window.hacked === undefined")
    assert page.problems == []


def test_stop_frees_the_engine_and_keeps_what_came(running: Running, page: Page) -> None:
    slow = running.server.catalog.llms[1]
    page.open(running.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.run("document.querySelector('#model').value = 'slow'")
    ask(page, "hello world, how do I build and serve a model on this machine?")
    page.wait("document.querySelector('.turn.live').textContent.length > 5")
    page.click("#stop")
    page.wait(f"document.querySelector('{ANSWER}')")
    running.wait_until(lambda: slow.stats().running == 0)
    [answer] = page.texts(ANSWER)
    assert "Stopped." in answer
    assert answer.startswith("hello")
    assert page.run("document.querySelector('#stop').hidden")


def test_an_error_is_shown_and_the_chat_goes_on(running: Running, page: Page) -> None:
    page.open(running.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    ask(page, "a " * 600)
    page.wait("document.querySelector('.turn.failed')")
    assert "maximum context length is 512 tokens" in page.texts(".turn.failed")[0]
    ask(page, "hello")
    page.wait(f"document.querySelectorAll('{ANSWER}').length === 2")
    assert page.texts(ANSWER)[1].startswith("hello")


def test_the_key_is_asked_for_and_kept_for_the_tab_only(weights: Path, page: Page) -> None:
    with serve(echo(weights, name="echo"), settings=Settings(api_key="user-key")) as running:
        page.open(
            running.url.replace("://", "://anyone:user-key@")
        )  # what a browser's password prompt gives
        page.wait("document.querySelector('#empty.failed')")
        assert "API key" in page.texts("#empty")[0]
        assert page.run("document.querySelector('#options').open")
        page.type("#key", "user-key")
        page.run("document.querySelector('#key').dispatchEvent(new Event('change'))")
        page.wait("document.querySelectorAll('#model option').length === 1")
        ask(page, "hello")
        page.wait(f"document.querySelector('{ANSWER} small')")
        assert page.run("sessionStorage.length") == 1
        assert page.run("localStorage.length") == 0
        assert page.run("document.cookie") == ""
