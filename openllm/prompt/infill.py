"""Prompts for a text whose middle is missing, in the forms that code models were trained on."""

from __future__ import annotations

from collections.abc import Container

import attrs


@attrs.frozen
class InfillForm:
    """How one line of models writes it: its marks before the prefix, the suffix and the middle."""

    prefix: str
    suffix: str
    middle: str
    suffix_first: bool = False

    def known_to(self, tokens: Container[str]) -> bool:
        """Whether all marks are `tokens` of a model's own."""
        marks = (self.prefix, self.suffix, self.middle)
        return all(mark in tokens for mark in marks if mark)

    def write(self, prefix: str, suffix: str) -> str:
        before, after = self.prefix + prefix, self.suffix + suffix
        return (after + before if self.suffix_first else before + after) + self.middle


FORMS = (
    InfillForm("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen Coder, CodeGemma
    InfillForm("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code
    InfillForm("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    InfillForm("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001  DeepSeek
    InfillForm("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    InfillForm("[PREFIX]", "[SUFFIX]", "", suffix_first=True),  # Codestral
)


def infilled(tokens: Container[str], prefix: str, suffix: str) -> str | None:
    """The prompt for what stands between `prefix` and `suffix`, for a model with these added
    `tokens`; None where it knows no form of it.
    """
    form = next((form for form in FORMS if form.known_to(tokens)), None)
    return None if form is None else form.write(prefix, suffix)
