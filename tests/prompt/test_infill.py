"""A text whose middle is missing, as the models that were trained for it know it."""

from __future__ import annotations

import pytest

from openllm.prompt.infill import FORMS, infilled


@pytest.mark.parametrize(
    ("tokens", "prompt"),
    [
        (
            {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
            "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
        ),
        ({"▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"}, "▁<PRE>a▁<SUF>b▁<MID>"),
        ({"[PREFIX]", "[SUFFIX]", "[MIDDLE]"}, "[SUFFIX]b[PREFIX]a"),
        ({"<|fim_prefix|>", "<|fim_suffix|>"}, None),
        (set(), None),
    ],
)
def test_the_form_follows_from_the_tokens(tokens: set[str], prompt: str | None) -> None:
    assert infilled(tokens, "a", "b") == prompt


def test_every_form_has_the_prefix_and_the_suffix_once() -> None:
    for form in FORMS:
        written = form.write("BEFORE", "AFTER")
        assert (written.count("BEFORE"), written.count("AFTER")) == (1, 1)
