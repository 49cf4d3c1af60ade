"""The page on agents: its code, run in its order against the demo, prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import openllm
from tests.serving import serve

PAGE = Path(__file__).parent.parent / "docs" / "agents.md"
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def test_the_code_of_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks].count("text") == 3
    names: dict[str, Any] = {}
    with serve(openllm.LLM("demo", backend="pytorch", dtype="float32")) as running:
        for kind, text in blocks:
            if kind == "python":
                code = text.replace("http://localhost:3000", running.url)
                exec(compile(code, str(PAGE), "exec"), names)
            else:
                assert capsys.readouterr().out == text
        names["client"].close()
