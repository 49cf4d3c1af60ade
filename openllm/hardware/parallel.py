"""How many GPUs share the model when nobody said it: from those that are visible and what divides
the model's heads; and how a whole engine lies on them.
"""

from __future__ import annotations

import attrs

from openllm.errors import ConfigurationError, option
from openllm.hardware.shape import ModelShape

_VOCAB_PAD = 64  # vLLM pads the vocabulary to a multiple of this before it is split


@attrs.frozen
class ParallelPlan:
    """`tensor` GPUs hold each layer together, `pipeline` groups of them take the layers in turn,
    and `data` copies of all that answer side by side.
    """

    tensor: int
    pipeline: int
    line: str  # the plan and its reason, for the log
    data: int = 1


def plan_parallel(
    shape: ModelShape,
    gpus: int,
    tensor: int | None = None,
    pipeline: int | None = None,
    *,
    data: int | None = None,
    experts: bool = False,
) -> ParallelPlan:
    """The plan for `gpus` visible GPUs; the sizes are what the user said and always win, `experts`
    is whether each stays whole on one GPU, in place of a part of every one on each.

    Errors: ConfigurationError where the experts of a model that has none are to be spread.
    """
    if experts and not shape.experts:
        raise ConfigurationError(
            f"{option('enable_expert_parallel')} is for mixtures of experts, and this model has"
            " none.",
            hint="Leave it out.",
            param="enable_expert_parallel",
        )
    groups, copies = pipeline or 1, data or 1
    room = max(gpus // (groups * copies), 1)
    size = tensor or next(count for count in range(room, 0, -1) if _divides(shape, count))
    parts = [f"tensor_parallel_size={size}{', as asked' if tensor else ''}"]
    parts += [f"pipeline_parallel_size={groups}"] if groups > 1 else []
    if copies > 1:
        parts.append(f"data_parallel_size={copies} ({copies * groups * size} GPUs in all)")
    if experts:
        parts.append(f"{shape.experts} experts spread over {size * copies}")
    said = ", ".join(parts)
    if tensor is not None:
        return ParallelPlan(size, groups, f"Parallel plan: {said}.", copies)
    seen = (
        f"{gpus} GPU{'s' if gpus != 1 else ''} visible, {shape.heads} heads, {shape.kv_heads}"
        " key/value heads"
    )
    idle = room - size
    rest = f" ({idle} of {room} GPUs stay idle: {room} do not divide the model)" if idle else ""
    return ParallelPlan(size, groups, f"Parallel plan: {seen}: {said}{rest}.", copies)


def _divides(shape: ModelShape, count: int) -> bool:
    if count == 1:
        return True
    if not shape.heads or shape.heads % count or shape.intermediate % count:
        return False
    padded = -(-shape.vocab // _VOCAB_PAD) * _VOCAB_PAD
    # fewer key/value heads than GPUs are copied, which works out only when they divide the GPUs
    return padded % count == 0 and (shape.kv_heads % count == 0 or count % shape.kv_heads == 0)
