"""Aliases: names of one's own for tags of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.errors import ConfigurationError
from openllm.weights.aliases import ALIASES, aliases_of, drop_alias, read_aliases, set_alias, tag_of


def test_an_alias_stands_for_a_tag_until_it_is_moved(tmp_path: Path) -> None:
    assert set_alias("my-prod", "llama:1", tmp_path) is None
    assert set_alias("my-test", "llama:1", tmp_path) is None
    assert aliases_of("llama:1", tmp_path) == ["my-prod", "my-test"]
    assert set_alias("my-prod", "llama:2", tmp_path) == "llama:1"
    assert read_aliases(tmp_path) == {"my-prod": "llama:2", "my-test": "llama:1"}
    drop_alias("my-test", tmp_path)
    assert tag_of("my-test", tmp_path) is None
    with pytest.raises(ConfigurationError, match=r"no alias 'my-test'. There are: my-prod\."):
        drop_alias("my-test", tmp_path)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a:1", "Prod", ".hidden"])
def test_names_that_mean_something_else_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an alias"):
        set_alias(name, "llama:1", tmp_path)
    assert tag_of(name, tmp_path) is None


def test_a_file_that_was_cut_off_is_no_alias(tmp_path: Path) -> None:
    set_alias("one", "llama:1", tmp_path)
    (tmp_path / ALIASES / "two").write_text("")
    (tmp_path / ALIASES / ".three.77").write_text("llama")
    assert read_aliases(tmp_path) == {"one": "llama:1"}
