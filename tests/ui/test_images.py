"""Images on the chat page: attached by a button, by pasting and by dropping where the model looks
at them, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests import seeing
from tests.browser import Page
from tests.scripted import Scripted
from tests.serving import Running, serve
from tests.ui.conftest import ANSWER, NEEDS_CHROMIUM, ask, echo

pytestmark = NEEDS_CHROMIUM
ATTACHED = "#images img"
SHOWN = ".turn.user .pictures img"
MOST = 3
FILE = seeing.picture(1)
URL = f"data:image/png;base64,{base64.b64encode(FILE).decode()}"
# A file as the browser has it, of base64 `data`, a name and a kind.
AS_FILE = (
    "new File([Uint8Array.from(atob({data}), (one) => one.charCodeAt(0))], {name},"
    " {{type: {kind}}})"
)


@pytest.fixture(scope="module")
def sighted(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Running]:
    """A model that looks at images, and two of texts."""
    path = seeing.write_seeing("qwen2_vl", tmp_path_factory.mktemp("sees"), weights=False)
    settings = Settings(max_images=MOST, max_image_bytes=100_000, max_image_pixels=90_000)
    sees = LLM.from_spec(
        LLMSpec(model_id=str(path), name="sees", backend="echo"), path, settings=settings
    )
    with serve(sees, echo(weights, name="reads"), settings=settings) as found:
        yield found


@pytest.fixture
def opened(sighted: Running, page: Page) -> Page:
    page.open(sighted.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.wait("document.querySelector('#attach').title.includes('at most')")
    # the engine answers with its prompt, and so with the tokens that stand for images
    page.run("document.querySelector('#option-skip_special_tokens').value = 'false'")
    return page


def file_of(data: bytes, name: str, kind: str = "image/png") -> str:
    words = {"data": base64.b64encode(data).decode(), "name": name, "kind": kind}
    return AS_FILE.format(**{key: json.dumps(value) for key, value in words.items()})


def given(page: Page, event: str, target: str, *files: str, text: str = "") -> bool:
    """Paste or drop files, and a text beside them; whether the browser was left to do it itself."""
    kind, field = {
        "paste": ("ClipboardEvent", "clipboardData"),
        "drop": ("DragEvent", "dataTransfer"),
    }[event]
    made = (
        "(() => { const given = new DataTransfer();"
        f" for (const file of [{', '.join(files)}]) given.items.add(file);"
        f" if ({json.dumps(text)}) given.setData('text/plain', {json.dumps(text)});"
        f" return document.querySelector({json.dumps(target)}).dispatchEvent(new {kind}("
        f"{json.dumps(event)}, {{{field}: given, bubbles: true, cancelable: true}})); }})()"
    )
    return bool(page.run(made))


def choose(page: Page, model: str) -> None:
    page.run(
        "(() => { const one = document.querySelector('#model');"
        f" one.value = {json.dumps(model)}; one.dispatchEvent(new Event('change')); }})()"
    )


def problem(page: Page) -> str:
    return page.texts("#image-problem")[0]


def wait_for_images(page: Page, count: int) -> None:
    page.wait(f"document.querySelectorAll('{ATTACHED}').length === {count}")


@pytest.mark.parametrize("width", [390, 1280])
def test_images_are_attached_removed_and_asked_about(
    opened: Page, tmp_path: Path, width: int
) -> None:
    opened.resize(width)
    (tmp_path / "one.png").write_bytes(FILE)
    opened.choose_file("#image-file", tmp_path / "one.png")
    wait_for_images(opened, 1)
    assert not given(opened, "paste", "#input", file_of(seeing.picture(2), "two.png"))
    wait_for_images(opened, 2)
    assert not given(opened, "drop", "#log", file_of(seeing.picture(3), "three.png"))
    wait_for_images(opened, MOST)
    names = f"[...document.querySelectorAll('{ATTACHED}')].map((one) => one.alt)"
    assert opened.run(names) == ["one.png", "two.png", "three.png"]
    outside = (
        "[...document.querySelectorAll('#form > *, #images li, #images button')]"
        ".map((one) => one.getBoundingClientRect()).filter((box) => box.width &&"
        f" (box.left < 0 || box.right > {width})).length"
    )
    assert opened.run(outside) == 0
    for name in ("two.png", "three.png"):  # a button, so the keyboard reaches it
        opened.run(f"document.querySelector('[aria-label=\"Remove {name}\"]').focus()")
        opened.press_enter()
    wait_for_images(opened, 1)
    assert opened.run("document.activeElement.id") == "input"
    ask(opened, "what is it")
    opened.wait(f"document.querySelector('{ANSWER} small')")
    assert opened.run(f"document.querySelector('{SHOWN}').src") == URL
    assert opened.run(f"document.querySelector('{SHOWN}').naturalWidth") == 40
    wait_for_images(opened, 0)
    assert opened.texts(ANSWER)[0].count("<|image_pad|>") == 2
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.problems == []


def test_an_image_stays_with_its_question(opened: Page, tmp_path: Path) -> None:
    opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    # an answer that spells the tokens of images would bring some of its own into the next prompt
    opened.run("document.querySelector('#option-skip_special_tokens').value = ''")
    given(opened, "paste", "#input", file_of(FILE, "one.png"))
    opened.run("document.querySelector('#input').focus()")
    opened.press_enter()  # while the file is still read, and without a text
    opened.wait(f"document.querySelector('{ANSWER} small')")
    ask(opened, "and now?")
    opened.wait(f"document.querySelectorAll('{ANSWER} small').length === 2")
    opened.click(f"{ANSWER}:last-child [data-icon=code]")
    assert not opened.run("document.querySelector('#request-note').hidden")
    requests = opened.run(
        "(async () => { const made = await import('./ui/request.js');"
        " const body = {model: 'sees', skip_special_tokens: false, messages: [{role: 'user',"
        f" content: [{{type: 'image_url', image_url: {{url: {json.dumps(URL)}}}}}]}}]}};"
        " return [made.curl(body), made.python(body)]; })()"
    )
    shown = opened.texts("#request-code code")[0]
    assert shown.startswith(requests[0].partition("data:")[0].partition("@-")[0])
    assert URL[:60] in shown
    assert URL not in shown
    for command in (["bash", "-c", requests[0]], [sys.executable, "-c", requests[1]]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert "<|image_pad|>" in done.stdout, done.stderr
    opened.run("document.querySelector('#request').close()")
    opened.click("#export")
    file = tmp_path / "openllm-conversations.json"
    opened.wait_for(file.exists)
    opened.wait_for(lambda: json.loads(file.read_text())["chats"])
    [kept] = json.loads(file.read_text())["chats"]
    assert kept["title"] == "one.png"
    question = next(node for node in kept["nodes"].values() if node["role"] == "user")
    assert question["images"] == [{"name": "one.png", "url": URL}]
    question["images"].append({"name": "no", "url": "https://example.org/no.png"})
    file.write_text(json.dumps({"chats": [{**kept, "id": "other", "title": "read"}]}))
    opened.choose_file("#import-file", file)
    opened.wait("document.querySelector('#chat-list [title=read]')")
    opened.click("#chat-list [title=read]")
    opened.wait("document.querySelector('#chat-list .current [title=read]')")
    assert opened.run(f"[...document.querySelectorAll('{SHOWN}')].map((one) => one.src)") == [URL]
    opened.click(".turn.user [data-icon=edit]")
    wait_for_images(opened, 1)
    assert opened.problems == []


def test_a_model_of_texts_gets_none(opened: Page) -> None:
    choose(opened, "reads")
    assert opened.run("document.querySelector('#attach').hidden")
    assert not given(opened, "drop", "#log", file_of(FILE, "one.png"))
    assert problem(opened) == "reads takes text only: images cannot be attached."
    choose(opened, "sees")
    assert problem(opened) == ""
    given(opened, "paste", "#input", file_of(FILE, "one.png"))
    wait_for_images(opened, 1)
    ask(opened, "look")
    opened.wait(f"document.querySelector('{ANSWER} small')")
    given(opened, "paste", "#input", file_of(seeing.picture(2), "two.png"))
    wait_for_images(opened, 1)
    choose(opened, "reads")
    assert opened.run("document.querySelector('#images').hidden")
    ask(opened, "and you?")
    opened.wait(f"document.querySelectorAll('{ANSWER} small').length === 2")
    assert "Without the images" in opened.texts(f"{ANSWER} small")[1]
    choose(opened, "sees")
    assert not opened.run("document.querySelector('#images').hidden")
    opened.run("document.querySelector('#beside').value = 'reads'")
    opened.run("document.querySelector('#beside').dispatchEvent(new Event('change'))")
    assert opened.run("document.querySelector('#attach').hidden")
    assert opened.problems == []


def test_what_cannot_be_sent_is_said_before(opened: Page) -> None:
    wide = seeing.picture(4, (350, 300), kind="JPEG")
    wrong = {
        "is no image of a kind that is taken (PNG, JPEG, WebP, GIF)": (b"x", "a.txt", "text/plain"),
        "cannot be read: it is broken, or no image": (FILE[:60], "a.png", "image/png"),
        "has 98 KiB; at most 98 KiB are taken": (bytes(100_001), "a.png", "image/png"),
        "Mi pixels; at most 0.1 Mi are taken": (wide, "a.jpg", "image/jpeg"),
    }
    for said, (data, name, kind) in wrong.items():
        given(opened, "drop", "#log", file_of(data, name, kind))
        opened.wait(f"document.querySelector('#image-problem').textContent.includes('{said}')")
        assert problem(opened).startswith(name)
    many = [file_of(seeing.picture(at), f"{at}.png") for at in range(MOST + 1)]
    given(opened, "drop", "#log", *many)
    wait_for_images(opened, MOST)
    assert problem(opened).startswith(f"{MOST}.png is one too many: a request may have {MOST}")
    assert given(opened, "paste", "#input", file_of(FILE, "a.png"), text="a text with a picture")
    assert opened.problems == []


def test_what_a_model_writes_shows_no_image(
    scripted: Scripted, served: Running, page: Page
) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    assert page.run("document.querySelector('#attach').hidden")
    scripted.backend.script = f"![x]({URL})"
    ask(page, "show me")
    page.wait(f"document.querySelector('{ANSWER} small')")
    assert page.run("document.querySelectorAll('#log img').length") == 0
