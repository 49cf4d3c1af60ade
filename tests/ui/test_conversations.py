"""Conversations on the chat page: branches, options, tools, two models at once, files of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from openllm.config.sampling import build_params
from openllm.errors import InvalidRequest
from openllm.types import SamplingParams
from tests.browser import Page
from tests.scripted import Scripted
from tests.serving import Running
from tests.ui.conftest import ANSWER, NEEDS_CHROMIUM, ask

pytestmark = NEEDS_CHROMIUM


def test_regenerate_edit_and_go_back(scripted: Scripted, served: Running, page: Page) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    scripted.backend.scripts = ["One.", "Two.", "Three.", "Four."]
    ask(page, "hello")
    page.wait(f"document.querySelector('{ANSWER} small')")
    page.click(f"{ANSWER} [data-icon=again]")
    page.wait(f"document.querySelector('{ANSWER} .markdown')?.textContent === 'Two.'")
    page.wait(f"document.querySelector('{ANSWER} .count')?.textContent === '2/2'")
    page.click(f"{ANSWER} [data-icon=left]")
    assert page.texts(f"{ANSWER} .markdown") == ["One."]
    page.click(".turn.user [data-icon=edit]")
    page.run("document.querySelector('#input').value = ''")
    ask(page, "better")
    page.wait(f"document.querySelector('{ANSWER} .markdown')?.textContent === 'Three.'")
    page.wait(f"document.querySelector('{ANSWER} small')")
    assert page.texts(".turn.user .plain") == ["better"]
    assert "hello" not in scripted.last_prompt()
    page.click(".turn.user [data-icon=left]")
    assert page.texts(".plain, .markdown") == ["hello", "Two."]
    ask(page, "go on")
    page.wait(f"document.querySelectorAll('{ANSWER} small').length === 2")
    assert "Two." in scripted.last_prompt()
    page.open(served.url)  # and after the page was closed it is all still there
    page.wait("document.querySelector('#chat-list .title')")
    page.click("#chat-list .title")
    page.wait("document.querySelectorAll('.turn').length === 4")
    assert page.texts(".plain, .markdown") == ["hello", "Two.", "go on", "Four."]
    page.click("#show-chats")
    page.type("#search", "nowhere to be found")
    page.wait("document.querySelector('#chat-list .none')")
    assert page.texts("#chat-list .none") == ["Nothing found."]
    assert page.problems == []


def test_options_reach_the_request_and_wrong_ones_are_named(
    scripted: Scripted, served: Running, page: Page, tmp_path: Path
) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    fields = {
        "option-temperature": "0.5",
        "option-top_p": "0.9",
        "option-top_k": "7",
        "option-stop": "END\nSTOP",
        "option-logit_bias": '{"5": 1.5}',
        "option-ignore_eos": "true",
        "system": "Be brief.",
        "schema": '{"type": "object"}',
    }
    for name, value in fields.items():
        page.run(f"document.querySelector('#{name}').value = {json.dumps(value)}")
    scripted.backend.script = "{}"
    ask(page, "hello")
    page.wait(f"document.querySelector('{ANSWER} small')")
    params = scripted.backend.requests[-1].params
    assert (params.temperature, params.top_p, params.top_k) == (0.5, 0.9, 7)
    assert params.stop == ("END", "STOP")
    assert params.logit_bias == {5: 1.5}
    assert params.ignore_eos
    assert params.structure is not None
    assert "Be brief." in scripted.last_prompt()
    page.click(f"{ANSWER} [data-icon=code]")
    [curl] = page.texts("#request-code code")
    done = subprocess.run(["bash", "-c", f"{curl} -s"], capture_output=True, text=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "{}"
    page.click("#as-python")
    python = tmp_path / "request.py"
    python.write_text(page.texts("#request-code code")[0])
    done = subprocess.run([sys.executable, str(python)], capture_output=True, text=True)
    assert done.stdout == "{}\n", done.stderr
    assert scripted.backend.requests[-1].params == params
    page.run("document.querySelector('#request').close()")
    wrong = {"option-temperature": "3", "schema": "{", "option-top_p": "0", "tools": "1"}
    for name, value in wrong.items():
        page.run("document.querySelector('#reset').click()")
        page.run(
            f"(() => {{ const one = document.querySelector('#{name}'); one.value ="
            f" {json.dumps(value)}; one.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
        assert page.texts("#options-problem") != [""], name
    asked = len(scripted.backend.requests)
    ask(page, "kept")
    assert page.run("document.querySelector('#input').value") == "kept"
    assert page.run("document.querySelector('#options').open")
    assert len(scripted.backend.requests) == asked


def test_ranges_are_those_of_the_server(served: Running, page: Page) -> None:
    """What the page lets through the library takes, and what lies just outside it does not."""
    page.open(served.url)
    page.wait("document.querySelector('#option-temperature')")
    ranges = page.run(
        "[...document.querySelectorAll('#sampling input[type=number]')]"
        ".map((one) => [one.id.slice('option-'.length), one.min, one.max])"
    )
    for name, low, high in ranges:
        for end, beyond in ((low, -1.0), (high, 1.0)):
            if end == "" or name == "n":  # how many choices there may be is the server's setting
                continue
            value = float(end) if name in {"top_p", "repetition_penalty"} else int(end)
            if value or name not in {"top_p", "repetition_penalty"}:
                build_params({name: value})
            with pytest.raises(InvalidRequest):
                build_params({name: value + int(beyond)})
    offered = {
        name for name, *_ in page.run("(async () => (await import('./ui/options.js')).FIELDS)()")
    }
    elsewhere = {"structure", "include_stop", "logprobs", "prompt_logprobs"}
    assert {field.name for field in attrs.fields(SamplingParams)} - elsewhere <= offered


def test_tools_are_called_and_answered(scripted: Scripted, served: Running, page: Page) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    page.run(f"document.querySelector('#tools').value = {json.dumps(json.dumps([tool]))}")
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>'
    scripted.backend.scripts = [call, "Rain."]
    ask(page, "weather?")
    page.wait("document.querySelector('.call textarea')")
    assert page.texts(".call summary") == ["Calls weather"]
    assert json.loads(page.texts(".call code")[0]) == {"city": "Bern"}
    page.type(".call textarea", "wet")
    page.click(".calls > button")
    page.wait("document.querySelectorAll('.turn.assistant .markdown')[1]?.textContent === 'Rain.'")
    assert "<|tool|>wet" in scripted.last_prompt()
    assert page.problems == []


def test_two_models_side_by_side(scripted: Scripted, served: Running, page: Page) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.run("document.querySelector('#beside').value = 'echo'")
    scripted.backend.script = "Mine."
    ask(page, "hello")
    page.wait(f"document.querySelectorAll('.pair {ANSWER} small').length === 2")
    assert page.texts(".pair .markdown") == ["Mine.", "hello"]
    page.click(".pair [data-icon=choose]")
    page.run("document.querySelector('#beside').value = ''")
    ask(page, "more")
    page.wait(f"document.querySelectorAll('{ANSWER} small').length === 3")
    assert "Mine." not in scripted.last_prompt()
    assert "hello<|user|>more" in scripted.last_prompt().replace("<|assistant|>", "")
    assert page.problems == []


def test_conversations_are_written_out_and_read_in(
    scripted: Scripted, served: Running, page: Page, tmp_path: Path
) -> None:
    page.open(served.url)
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    scripted.backend.script = "Kept."
    ask(page, "to be exported")
    page.wait(f"document.querySelector('{ANSWER} small')")
    page.wait("document.querySelector('#chat-list .title')")
    page.click("#export")
    file = tmp_path / "openllm-conversations.json"
    page.wait_for(file.exists)
    page.wait_for(lambda: json.loads(file.read_text())["chats"])
    page.run("window.confirm = () => true; window.alert = (text) => { window.alerted = text; }")
    page.click("#chat-list [data-icon=remove]")
    page.wait("document.querySelector('#chat-list .none')")
    assert page.texts(".turn") == []
    page.choose_file("#import-file", file)
    page.wait("document.querySelector('#chat-list .title')")
    page.click("#chat-list .title")
    assert page.texts(".plain, .markdown") == ["to be exported", "Kept."]
    file.write_text('{"chats": [{"nodes": {"1": {"role": "system"}}}]}')
    page.choose_file("#import-file", file)
    page.wait("window.alerted")
    assert "holds no conversations" in page.run("window.alerted")
    assert page.problems == []
