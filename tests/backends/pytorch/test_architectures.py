"""Models of many types answer as transformers does, and docs/models.md says how each is run.

All types: `make test-architectures`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.catalogue import HEADING
from tests.backends.pytorch.architectures import FEW, TYPES, evaluate, page

RECORD = json.loads(Path(__file__).with_name("architectures.json").read_text("utf-8"))
PAGE = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.mark.parametrize("name", FEW)
def test_answers_are_those_of_generate(name: str, tmp_path: Path) -> None:
    result = evaluate(name, tmp_path)
    assert result.problem is None
    assert result.batched == RECORD[name], "run make test-architectures"


def test_the_page_is_what_was_recorded() -> None:
    assert PAGE.read_text("utf-8").partition(HEADING)[0] == page(RECORD) + "\n"
    assert set(RECORD) == set(TYPES)
