"""A chat in the terminal: what is typed, what is asked, what is shown."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.cli.chat.conversation import Talk
from openllm.cli.chat.display import MarkdownDisplay, PlainDisplay, complete
from openllm.cli.chat.loop import chat
from openllm.client import ChatDelta, Client
from openllm.errors import Unreachable
from tests.serving import Running


class Typist:
    """Types these lines, then ends the input; an exception among them is raised."""

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        if isinstance(line, str):
            return line
        raise line


@pytest.fixture
def talk(chat_server: Running) -> Iterator[Talk]:
    with Client(chat_server.url, key="user") as client:
        yield Talk(client, "echo", fields={"max_tokens": 300})


def typed(talk: Talk, *lines: str | type[BaseException]) -> Typist:
    typist = Typist(*lines)
    chat(talk, lambda: PlainDisplay(clean=True), typist)
    return typist


def questions(talk: Talk) -> list[object]:
    return [turn["content"] for turn in talk.messages if turn["role"] == "user"]


def test_a_question_is_answered_and_remembered(
    talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(talk, "first words", "second words")
    assert questions(talk) == ["first words", "second words"]
    assert [turn["role"] for turn in talk.messages] == ["user", "assistant"] * 2
    assert "first words" in capsys.readouterr().out


def test_lines_are_held_together_by_a_backslash_or_quotes(talk: Talk) -> None:
    typist = typed(talk, "one\\", "two", '"""', "three", 'four"""', '"""five"""')
    assert questions(talk) == ["one\ntwo", "three\nfour", "five"]
    assert typist.prompts[:4] == [">>> ", "... ", ">>> ", "... "]


def test_commands_change_how_is_asked(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    typed(
        talk,
        "/system be brief",
        "/set temperature 0",
        "/set max-tokens=5",
        "/set temperature",
        "/json",
        "/model echo",
    )
    assert (talk.system, talk.fields, talk.model) == ("be brief", {"max_tokens": 5}, "echo")
    assert talk.structure == {"type": "json_object"}
    typed(talk, "/json off", "/system", "/clear", "/help")
    assert (talk.system, talk.structure, talk.messages) == (None, None, [])
    assert "/retry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/sytem x", "There is no /sytem. Did you mean system?"),
        ("/set temprature 1", "There is no setting 'temprature'. Did you mean temperature?"),
        ("/model nobody", "The server has no model 'nobody'."),
        ("/retry", "There is no question yet."),
        ("/image", "/image needs a file."),
        ("/image /nowhere.png", "There is no file '/nowhere.png'."),
        ("/load /nowhere", "'/nowhere' cannot be read"),
        ("/save /nowhere/x", "'/nowhere/x' cannot be written"),
        ("/set temperature 7", ""),
    ],
)
def test_a_mistake_is_a_line_and_the_chat_goes_on(
    talk: Talk, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    typed(talk, line, "still here")
    printed = capsys.readouterr()
    assert says in printed.err
    assert questions(talk)[-1] == "still here"
    if not says:  # the server refused it
        assert "temperature" in printed.err


def test_an_image_goes_with_the_next_question(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(b"png")
    typed(talk, f"/image '{tmp_path / 'a b.png'}'", "what?", "and?")
    (parts, text) = questions(talk)
    assert isinstance(parts, list)
    assert [part["type"] for part in parts] == ["image_url", "text"]
    assert text == "and?"


def test_a_file_that_is_no_image_is_said_at_once_and_spoils_no_question(
    talk: Talk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    typed(talk, f"/image {tmp_path / 'notes.txt'}", "still here")
    assert "notes.txt' is no image by its name. Give a .png" in capsys.readouterr().err
    assert talk.messages[-1]["role"] == "assistant"


def test_retry_asks_the_last_question_again(talk: Talk) -> None:
    typed(talk, "first", "second", "/retry")
    assert questions(talk) == ["first", "second"]
    assert [turn["role"] for turn in talk.messages] == ["user", "assistant"] * 2


def test_a_chat_is_saved_and_loaded(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    typed(talk, "/system be brief", "words", f"/save {file}")
    said = list(talk.messages)
    assert file.stat().st_mode & 0o077 == 0
    other = Talk(talk.client, "echo")
    typed(other, f"/load {file}")
    assert (other.messages, other.system, other.fields) == (said, "be brief", talk.fields)
    file.write_text(json.dumps({"messages": 1}))
    typed(other, f"/load {file}")
    assert other.messages == said


def test_ctrl_c_stops_the_answer_and_not_the_chat(
    talk: Talk, chat_server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(PlainDisplay):
        def show(self, delta: ChatDelta) -> None:
            super().show(delta)
            raise KeyboardInterrupt

    talk.fields = {"max_tokens": 2000, "ignore_eos": True}
    displays = iter([Interrupted(clean=True), PlainDisplay(clean=True)])
    talk.fields["max_tokens"] = 400
    chat(talk, lambda: next(displays), Typist("a b c", KeyboardInterrupt, "d e f", "/bye", "never"))
    chat_server.wait_until(lambda: chat_server.llm.stats().running == 0)
    assert questions(talk) == ["a b c", "d e f"]
    assert "(stopped)" in capsys.readouterr().err


def test_a_server_that_goes_down_keeps_the_conversation(
    talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(talk, "first")
    gone = Talk(Client("http://127.0.0.1:9"), "echo", messages=list(talk.messages))
    typed(gone, "second")
    assert questions(gone) == ["first", "second"]
    assert "Error: No server answers" in capsys.readouterr().err
    gone.client = talk.client
    typed(gone, "third")
    assert questions(gone) == ["first", "second", "third"]


def test_a_question_without_an_answer_is_not_sent_again(talk: Talk) -> None:
    talk.messages = [{"role": "user", "content": "lost"}]
    typed(talk, "new")
    assert "lost" not in str(talk.messages[-1]["content"])
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(Unreachable):
        next(Talk(nobody, "echo").ask("x"))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("one\n\ntwo", 5),
        ("one", 0),
        ("```\na\n\nb\n", 0),
        ("```\na\n\nb\n```\n\nrest", 14),
        ("~~~~\n```\n\n~~~~\n\n", 16),
        ("one\n", 0),
    ],
)
def test_a_block_is_complete_behind_a_blank_line_outside_of_code(text: str, cut: int) -> None:
    assert complete(text) == (text[:cut], text[cut:])


def test_markdown_is_rendered_whole_and_control_characters_are_not() -> None:
    from rich.console import Console

    console = Console(width=40, force_terminal=True, color_system=None, record=True)
    with MarkdownDisplay(console) as display:
        for piece in ("**bo", "ld**\n\n- it", "em\n", "\n```\nco\n\n", "de\n```\n\x1b[31mred"):
            display.show(ChatDelta(text=piece))
        display.show(ChatDelta(reasoning="late thought"))
    shown = console.export_text()
    for word in ("bold", "• item", "co", "de", "[31mred", "late thought"):
        assert word in shown
    assert "**" not in shown


@pytest.mark.parametrize("wanted", [True, False])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    from rich.console import Console

    if wanted:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as captured, MarkdownDisplay(console) as display:
        display.show(ChatDelta(text="```python\nfor x in 1, 2:\n    print(x)\n```\n`code`"))
    colours = re.findall(r"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m", captured.get())
    assert bool(colours) is wanted
