"""Under which licence a model stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openllm.bento.contents.licence import model_licence, spdx


@pytest.mark.parametrize(
    ("card", "family", "licence"),
    [
        ("---\nlicense: mit\n---\n", None, "MIT"),
        ("---\nlicense: other\nlicense_name: tongyi-qianwen\n---\n", "llama", "tongyi-qianwen"),
        ("---\nlicense: [\n---\n", "llama", "llama3.2"),
        ("# No front matter", "llama", "llama3.2"),
        (None, "llama", "llama3.2"),
        (None, "qwen", None),  # the id is not that family's default
        (None, None, None),
    ],
)
def test_the_licence_of_a_model(
    tmp_path: Path, card: str | None, family: str | None, licence: str | None
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert model_licence(tmp_path, "meta-llama/Llama-3.2-1B-Instruct", family) == licence


def test_spdx_ids_have_their_case() -> None:
    assert (spdx("apache-2.0"), spdx("Apache 2.0"), spdx("llama3")) == (
        "Apache-2.0",
        "Apache-2.0",
        None,
    )
    assert re.fullmatch(r"BSD-3-Clause", spdx("bsd-3-clause") or "")


def test_each_model_that_a_family_knows_has_its_own(tmp_path: Path) -> None:
    assert model_licence(tmp_path, "meta-llama/Llama-3.1-8B", "llama") == "llama3.1"
    assert model_licence(tmp_path, "acme/llama", "llama") is None
