"""Names of tags, made of whatever a model is called."""

from __future__ import annotations

import pytest

from openllm.bento.pack.names import tag_name
from openllm.bento.pack.render import render_service
from openllm.errors import BuildError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama--llama-3.2-1b-instruct"),
        ("My Model!", "my-model"),
        ("__x__", "x"),
        ("a" * 80, "a" * 63),
    ],
)
def test_a_tag_name_is_made_of_any_id(text: str, name: str) -> None:
    assert tag_name(text) == name
    assert render_service(name)


def test_a_name_of_nothing_usable_is_refused() -> None:
    with pytest.raises(BuildError, match="No tag name"):
        tag_name("!!!")
