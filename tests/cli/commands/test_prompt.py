"""The prompt that a chat message becomes."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_prompt_shows_what_the_engine_will_read(run: Run, chat_model: Path, tmp_path: Path) -> None:
    result = run("prompt", str(chat_model), "Hello", "--system", "Be brief.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "<s><|system|>Be brief.</s><|user|>Hello</s><|assistant|>\n"
    template = tmp_path / "own.jinja"
    template.write_text("[{{ messages[0].content }}]")
    assert (
        run("prompt", str(chat_model), "Hello", "--chat-template", str(template)).stdout
        == "[Hello]\n"
    )


def test_prompt_of_a_directory_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("prompt", str(tmp_path / "none"), "Hello")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "There is no directory" in result.stderr
