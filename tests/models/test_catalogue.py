"""docs/models.md has what the families say, and that is what the engines do with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm import models
from openllm.models.base import LLMConfig
from scripts.catalogue import HEADING, PAGE, section
from tests.models.test_registry import KNOWN

RECORD = json.loads(
    (Path(__file__).parents[1] / "backends" / "pytorch" / "architectures.json").read_text("utf-8")
)
# transformers has no class of InternLM's own
TRIED = [name for name in KNOWN if name not in (models.GENERIC, "internlm")]
GENERATING = [family for family in map(models.get, TRIED) if family.task == "generate"]


def test_the_page_is_what_the_families_say() -> None:
    page = PAGE.read_text("utf-8")
    assert HEADING + page.partition(HEADING)[2] == section(), "run: python -m scripts.catalogue"


@pytest.mark.parametrize("family", GENERATING, ids=lambda family: family.name)
def test_what_runs_batched_is_what_was_tried(family: type[LLMConfig]) -> None:
    """The record of `make test-architectures` is by model type, a family's facts by class."""
    from transformers.models.auto import modeling_auto as names

    mappings = (
        names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        names.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )
    types = {
        kind
        for mapping in mappings
        for kind, name in mapping.items()
        if family.architectures and name == family.architectures[0]
    }
    tried = {RECORD[kind] for kind in types & set(RECORD)}
    assert tried == {"pytorch" in family.batched_on()}
