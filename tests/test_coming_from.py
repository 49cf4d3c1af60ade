"""The page *Coming from OpenLLM 0.3-0.6*: each line of its table, run."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import openllm
from openllm.errors import OpenLLMError

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
ROWS = re.findall(
    r"^\| `(.+?)` \| (works|says: .+?) \| `(.+?)` \|$", PAGE.read_text(), re.MULTILINE
)


def run(code: str) -> object:
    for module in ("openllm.bento.serve", "openllm.bento.build", "openllm.bento.pack.sources"):
        if module in code:
            importlib.import_module(module)
    return eval(code, {"openllm": openllm})  # the page's own text


def test_the_whole_table_is_read() -> None:
    assert len(ROWS) == PAGE.read_text().count("| `openllm.") / 2


@pytest.mark.parametrize(("then", "here", "now"), ROWS, ids=[row[0] for row in ROWS])
def test_a_line_of_the_table(then: str, here: str, now: str) -> None:
    meant = run(now)
    if here == "works":
        found = run(then)
        if isinstance(found, openllm.LLM):
            assert isinstance(meant, openllm.LLM)
            assert found.spec == meant.spec
        else:
            assert found == meant
    else:
        with pytest.raises((OpenLLMError, AttributeError, TypeError)) as error:
            run(then)
        assert here.removeprefix("says: ") in str(error.value)
