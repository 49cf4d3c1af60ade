"""How many GPUs share the model when nobody said it: from those that are visible and what divides
the model's heads.
"""

from __future__ import annotations

import attrs

from openllm.hardware.shape import ModelShape

_VOCAB_PAD = 64  # vLLM pads the vocabulary to a multiple of this before it is split


@attrs.frozen
class ParallelPlan:
    """`tensor` GPUs hold each layer together, `pipeline` groups of them take the layers in turn."""

    tensor: int
    pipeline: int
    line: str  # the plan and its reason, for the log


def plan_parallel(
    shape: ModelShape, gpus: int, tensor: int | None = None, pipeline: int | None = None
) -> ParallelPlan:
    """The plan for `gpus` visible GPUs; `tensor` and `pipeline` are what the user said and always
    win.
    """
    groups = pipeline or 1
    if tensor is not None:
        return ParallelPlan(
            tensor,
            groups,
            f"Parallel plan: tensor_parallel_size={tensor}, as asked{_groups(groups)}.",
        )
    room = max(gpus // groups, 1)
    size = next(count for count in range(room, 0, -1) if _divides(shape, count))
    seen = (
        f"{gpus} GPU{'s' if gpus != 1 else ''} visible, {shape.heads} heads, {shape.kv_heads}"
        " key/value heads"
    )
    idle = room - size
    rest = f" ({idle} of {room} GPUs stay idle: {room} do not divide the model)" if idle else ""
    return ParallelPlan(
        size, groups, f"Parallel plan: {seen}: tensor_parallel_size={size}{_groups(groups)}{rest}."
    )


def _groups(groups: int) -> str:
    return f", pipeline_parallel_size={groups}" if groups > 1 else ""


def _divides(shape: ModelShape, count: int) -> bool:
    if count == 1:
        return True
    if not shape.heads or shape.heads % count or shape.intermediate % count:
        return False
    padded = -(-shape.vocab // _VOCAB_PAD) * _VOCAB_PAD
    # fewer key/value heads than GPUs are copied, which works out only when they divide the GPUs
    return padded % count == 0 and (shape.kv_heads % count == 0 or count % shape.kv_heads == 0)
