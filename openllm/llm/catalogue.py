"""Which models of the catalogue fit this machine, by the plan of their known shapes: nothing is
downloaded, and nothing asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency, UnsupportedCombination
from openllm.hardware.shape import DTYPE_BYTES
from openllm.llm.planning import Plan, plan_outline, room_here, with_usual_context
from openllm.models.base import LLMConfig
from openllm.weights.outline import Outline

# No format that weights are served in has numbers of less than half a byte.
_LEAST_BYTES = 0.5
_HELPS = ("dtype", "quantization")  # what changes how large weights are


@attrs.frozen
class Verdict:
    """Whether a model fits here: as it is, once its weights are quantised, not at all; or nobody
    knows. `options` are the fields of a spec with which it does.
    """

    fits: Literal["yes", "quantised", "no", "unknown"]
    options: Mapping[str, str] = attrs.field(factory=dict)


UNKNOWN = Verdict("unknown")


def judge(family: type[LLMConfig], model_id: str, settings: Settings) -> Verdict:
    """Of a model of the family, by what the family knows of it."""
    found, card = known_outline(family, model_id), family.models.get(model_id)
    if found is not None:
        spec = LLMSpec(model_id=model_id, family=family.name, task=family.task)
        return judge_outline(spec, found, settings)
    if card is not None and card.parameters * _LEAST_BYTES > room_here(settings):
        return Verdict("no")
    return UNKNOWN


def judge_outline(spec: LLMSpec, found: Outline, settings: Settings) -> Verdict:
    """Of a model whose outline is known: it fits where one sequence of a usual context does."""
    try:
        made = plan_outline(with_usual_context(spec, found.config), found, settings)
    except (ConfigurationError, MissingDependency, UnsupportedCombination):
        return UNKNOWN  # no engine here can serve it
    return UNKNOWN if made.unsure else _of_plan(made)


def known_outline(family: type[LLMConfig], model_id: str) -> Outline | None:
    """What the family knows of one of its models; None: not its shape."""
    card, shape = family.models.get(model_id), family.shapes.get(model_id)
    if card is None or shape is None:
        return None
    config: dict[str, Any] = shape.config(card.context)
    size = shape.size or round(card.parameters) * DTYPE_BYTES[shape.dtype]
    return Outline(config, {}, size)


def _of_plan(made: Plan) -> Verdict:
    if made.fits:
        return Verdict("yes")
    for field, spec in made.helps:
        if field in _HELPS:
            options = {field: str(getattr(spec, field))}
            return Verdict("quantised" if field == "quantization" else "yes", options)
    return Verdict("no")
