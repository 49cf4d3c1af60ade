"""Write what is known of the model families into docs/models.md: the part of the page after its
heading, made of the families' own modules.

    python -m scripts.catalogue
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from openllm import models
from openllm.config.sizes import readable_count
from openllm.models.base import LLMConfig, ModelCard

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
HEADING = "# The catalogue of families\n"
ABOUT = """
What openllm knows of each family, and of its models on the Hub, as their cards and configurations
say; `openllm models` and `openllm show FAMILY` print it. A family's sampling and formats are for
its own models: those whose id is here or alike, or whose chat template and tokenizer are the
family's. What the chat template shows, or the model's generation_config.json says, goes first.
*Batched on*: the engines that take several requests into one forward pass.
"""
FAMILIES = (
    "family",
    "default model",
    "architectures",
    "sampling",
    "tools",
    "thoughts",
    "LoRA targets",
    "batched on",
)
MODELS = ("model", "family", "parameters", "active", "context", "licence")


def section() -> str:
    """The heading and all below it, of openllm's own families."""
    ours = [family for family in models.all_families() if models.is_ours(family.name)]
    families = [_family(family) for family in ours if family.name != models.GENERIC]
    cards = [row for family in ours for row in _cards(family)]
    return "\n".join((HEADING + ABOUT, _table(FAMILIES, families), _table(MODELS, cards)))


def _family(family: type[LLMConfig]) -> tuple[str, ...]:
    return (
        family.name,
        family.default_id or "none",
        " ".join(family.architectures) + (" (by id only)" if family.by_id_only else ""),
        " ".join(f"{name}={value}" for name, value in family.sampling.items()),
        family.tool_format or "",
        family.reasoning_format or "",
        " ".join(family.lora_targets),
        " ".join(family.batched_on()) or "none: one at a time",
    )


def _cards(family: type[LLMConfig]) -> Iterator[tuple[str, ...]]:
    for model_id in family.model_ids:
        card = family.models.get(model_id)
        yield (model_id, family.name, *_facts(card), family.license_of(model_id))


def _facts(card: ModelCard | None) -> tuple[str, str, str]:
    if card is None:
        return "", "", ""
    active = readable_count(card.active) if card.active else ""
    return readable_count(card.parameters), active, str(card.context)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> int:
    before = PAGE.read_text("utf-8").partition(HEADING)[0]
    PAGE.write_text(before.rstrip("\n") + "\n\n" + section(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
