"""A tokenizer without a model, and structures that cost too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.backends.grammar.frames import Vocabulary
from tests.tiny import VOCAB_SIZE, write_tokenizer

ENDS = (2,)


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path: Path = write_tokenizer(tmp_path_factory.mktemp("grammar") / "tokenizer")
    return Vocabulary(str(path), VOCAB_SIZE, ENDS)
