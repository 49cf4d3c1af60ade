"""The chat page in a real browser: it answers, stops, asks for its key, shows what a model writes,
and nothing of it as markup, on any width.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openllm.config.settings import Settings
from tests.browser import Page
from tests.scripted import Scripted
from tests.serving import Running, serve
from tests.ui.conftest import ANSWER, NEEDS_CHROMIUM, ask, echo

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def shots() -> Path | None:
    """Where screenshots belong, for `make screenshots`."""
    folder = os.environ.get("SCREENSHOTS")
    return Path(folder) if folder else None


def _shot(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        page.screenshot(folder / f"{name}.png")


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


ATTACKS = (
    "[click](javascript:window.hacked=1)",
    "![x](data:text/html,<script>window.hacked=1</script>)",
    "<javascript:window.hacked=1>",
    '[x](https://example.org/" onmouseover=window.hacked=1 ")',
    "```html\n<script>window.hacked=1</script>\n```",
    "| <img src=x onerror=window.hacked=1> | b |\n|---|---|\n| <svg onload=window.hacked=1> | c |",
    "# <iframe src=javascript:window.hacked=1>",
    "$<script>window.hacked=1</script>$",
)


def test_what_a_model_writes_never_becomes_markup_or_code(
    scripted: Scripted, served: Running, page: Page
) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    scripted.backend.script = "\n\n".join(ATTACKS)
    ask(page, "attack")
    page.wait(f"document.querySelector('{ANSWER} small')")
    assert (
        page.run(
            "document.querySelectorAll('#log :is(img, script, svg, iframe, style, form)').length"
        )
        == 0
    )
    links = page.run("[...document.querySelectorAll('#log a')].map((a) => a.getAttribute('href'))")
    assert all(link.startswith("https://example.org/") for link in links), links
    attributes = page.run(
        "[...document.querySelectorAll('.markdown *')].flatMap((one) => one.getAttributeNames())"
    )
    assert not [name for name in attributes if name.startswith("on") or name == "style"]
    page.run(
        "document.querySelectorAll('#log a')"
        ".forEach((a) => a.dispatchEvent(new Event('mouseover')))"
    )
    assert page.run("window.hacked === undefined")
    assert page.problems == []


SAMPLE = """<think>A plan
of two lines</think>## Heading
Some **bold**, *italic*, `code`, a [link](https://example.org/a_b), snake_case_word, $a_1 + b_2$.

1. First
2. Second
   - nested *item*

> Quoted

| Name | Count |
|:-----|------:|
| a | 12 |

```python
def hello():  # say it
    return "hi" * 2
```

Done."""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_an_answer_is_shown_with_everything_in_it_and_nothing_off_screen(
    scripted: Scripted, served: Running, page: Page, width: int, shots: Path | None
) -> None:
    page.open(served.url)
    page.resize(width)
    page.wait("document.querySelectorAll('#model option').length === 2")
    scripted.backend.script = SAMPLE
    ask(page, "Show me everything")
    page.wait(f"document.querySelector('{ANSWER} small')")
    shown = page.run(
        "Object.fromEntries(['h4', 'strong', 'em', 'p code', 'a', 'ol > li', 'ul > li', 'th',"
        " 'blockquote', 'td.right', 'pre code', '.code-word', '.code-comment', '.code-text',"
        " '.code-number', '.math'].map((one) => [one,"
        " document.querySelector('.markdown ' + one)?.textContent]))"
    )
    assert shown == {
        "h4": "Heading",
        "strong": "bold",
        "em": "italic",
        "p code": "code",
        "a": "link",
        "ol > li": "First",
        "ul > li": "nested item",
        "blockquote": "Quoted",
        "th": "Name",
        "td.right": "12",
        "pre code": 'def hello():  # say it\n    return "hi" * 2',
        ".code-word": "def",
        ".code-comment": "# say it",
        ".code-text": '"hi"',
        ".code-number": "2",
        ".math": "$a_1 + b_2$",
    }
    assert "snake_case_word" in page.texts(".markdown p")[0]
    assert page.texts(".thought summary") == ["Thought"]
    assert not page.run("document.querySelector('.thought').open")
    assert page.texts(".thought div") == ["A plan\nof two lines"]
    assert " tokens/s · first after " in page.texts(f"{ANSWER} small")[0]
    _shot(page, shots, f"answer-{width}")
    page.click("#options summary")
    _shot(page, shots, f"options-{width}")
    inside = (
        "[...document.querySelectorAll('#panel :is(input, select, textarea), header > *,"
        " #form > *')].map((one) => one.getBoundingClientRect()).filter((box) => box.width)"
        f".every((box) => box.left >= 0 && box.right <= {width})"
    )
    assert page.run(inside)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.problems == []


def test_keyboard_theme_and_names_for_screen_readers(running: Running, page: Page) -> None:
    page.open(running.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.run("document.querySelector('#model').value = 'slow'")
    ask(page, "hello world, how do I build and serve a model on this machine?")
    page.click("#options summary")
    page.wait("document.querySelector('.turn.live').textContent.length > 5")
    page.press_escape()  # stops
    page.wait(f"document.querySelector('{ANSWER}')")
    assert "Stopped." in page.texts(ANSWER)[0]
    assert page.run("document.querySelector('#options').open")
    page.press_escape()  # then closes
    assert not page.run("document.querySelector('#options').open")
    nameless = page.run(
        "[...document.querySelectorAll('button, input, select, textarea, article, dialog')]"
        ".filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label') ||"
        " one.getAttribute('aria-labelledby') || one.labels?.length)).map((one) => one.outerHTML)"
    )
    assert nameless == []
    ground = "getComputedStyle(document.body).backgroundColor"
    page.dark(True)
    dark = page.run(ground)
    page.dark(False)
    light = page.run(ground)
    assert dark != light
    page.click("#theme")
    assert page.run(ground) == dark
    page.click("#show-status")
    page.wait("document.querySelector('#status-rows table')")
    [said] = page.texts("#status-rows")
    assert "Engineecho, cpu, none" in said
    assert "0 running, 0 waiting" in said
    assert page.problems == []


def test_a_server_that_is_gone_is_said_and_the_question_can_be_asked_again(
    weights: Path, page: Page
) -> None:
    with serve(echo(weights, name="echo")) as running:
        page.open(running.url)
        page.wait("document.querySelectorAll('#model option').length === 1")
    ask(page, "hello")
    page.wait("document.querySelector('.turn.failed')")
    assert "does not answer" in page.texts(".turn.failed")[0]
    assert page.texts(".turn.user .plain") == ["hello"]
    assert page.texts(".turn.failed .retry") == ["Retry"]


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
