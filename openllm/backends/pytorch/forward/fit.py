"""Choose how a model is run: over slots when a rehearsal gives the model's own logits, else one
sequence at a time.
"""

from __future__ import annotations

import logging

import attrs
import torch

from openllm.backends.pytorch.forward.executor import Executor
from openllm.backends.pytorch.forward.flat import FlatExecutor, layer_windows, probe_geometry
from openllm.backends.pytorch.forward.fused import FusedModel
from openllm.backends.pytorch.forward.rehearsal import (
    rehearsal_tokens,
    rehearse_alone,
    rehearse_flat,
    rehearse_images,
)
from openllm.backends.pytorch.forward.seeing import SeeingExecutor
from openllm.backends.pytorch.forward.solo import SoloExecutor
from openllm.backends.pytorch.linear.packing import choose_kind, pack_others, pack_stacks
from openllm.backends.pytorch.linear.products import Int8, Plain, Prepacked
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel, choose_limits
from openllm.backends.pytorch.options import FUSED
from openllm.backends.pytorch.steps import STEP_ERRORS
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedCombination, WeightsError
from openllm.media.processor import Looked

log = logging.getLogger(__name__)


def choose_executor(
    spec: LLMSpec, loaded: LoadedModel, *, sees: bool = False
) -> tuple[Executor, EngineLimits]:
    """The executor that suits the model, and the limits it works within; the model's linear layers
    are products of the right kind afterwards. `sees`: it may be asked to take images, too. Errors:
    ConfigurationError; WeightsError for a model that cannot compute at all.
    """
    kind = choose_kind(spec, loaded)
    tokens = rehearsal_tokens(loaded, spec.max_model_len or loaded.context)
    flat = _choose_flat(spec, loaded, tokens, SeeingExecutor if sees else FlatExecutor)
    if isinstance(flat, str):
        log.info("this model is run one sequence at a time: %s", flat)
        pack_whole(spec, loaded)
        return _choose_solo(loaded, choose_limits(spec, loaded, 0), tokens)
    rehearsal, limits = flat
    _fuse(spec, rehearsal)
    if rehearsal.executor.fused is None and kind is Int8:
        pack_whole(spec, loaded)
    else:
        _pack(rehearsal, kind)
    return rehearsal.executor, limits


def takes_images(executor: Executor, loaded: LoadedModel, looked: Looked) -> bool:
    """Whether prompts with images can be computed, if need be one at a time; `looked` is one."""
    if not isinstance(executor, SeeingExecutor | SoloExecutor):
        return False
    with torch.inference_mode():
        problem = rehearse_images(executor, loaded, looked)
        if problem is not None and isinstance(executor, SeeingExecutor):
            log.info("prompts with images are run one sequence at a time: %s", problem)
            executor.alone = SoloExecutor(loaded, executor.limits)
            problem = rehearse_images(executor, loaded, looked)
    if problem is not None:
        log.warning("this model is served for text alone: %s", problem)
    return problem is None


def _choose_solo(
    loaded: LoadedModel, limits: EngineLimits, tokens: list[int]
) -> tuple[SoloExecutor, EngineLimits]:
    """An executor of one sequence at a time that has passed its rehearsal. Errors: WeightsError."""
    problem: str | None = None
    for cached in (True, False):
        executor = SoloExecutor(loaded, limits, cached=cached)
        with torch.inference_mode():
            problem = rehearse_alone(executor, loaded, tokens)
        if problem is None:
            return executor, limits
        if cached:
            log.warning("what this model keeps of a text is computed anew: %s", problem)
    raise WeightsError(
        f"This model cannot generate: {problem}.",
        hint="Check its config.json, and the transformers version it was made with.",
    )


def pack_whole(spec: LLMSpec, loaded: LoadedModel) -> None:
    """Quantize a model that our own pass does not compute, where the spec asks for it. Errors:
    UnsupportedCombination.
    """
    if (kind := choose_kind(spec, loaded)) is not Int8:
        return
    with torch.no_grad():
        pack_others(loaded.model, kind)
    try:
        with torch.inference_mode():
            loaded.model(input_ids=torch.tensor([rehearsal_tokens(loaded, loaded.context)]))
    except STEP_ERRORS as error:
        raise UnsupportedCombination(
            f"{type(loaded.model).__name__} computes with its weights itself, so they cannot be"
            f" {spec.quantization}.",
            hint="Leave the weights as they are.",
            param="quantization",
        ) from error


@attrs.frozen
class _Rehearsal:
    """Some tokens, and the logits they must give."""

    executor: FlatExecutor
    loaded: LoadedModel
    tokens: list[int]
    logits: torch.Tensor

    def fails(self) -> str | None:
        """Why the executor cannot be used; None when it can."""
        with torch.inference_mode():
            return rehearse_flat(self.executor, self.loaded, self.tokens, self.logits)


def _choose_flat(
    spec: LLMSpec, loaded: LoadedModel, tokens: list[int], kind: type[FlatExecutor]
) -> tuple[_Rehearsal, EngineLimits] | str:
    """An executor over slots that has passed its rehearsal, or why there is none."""
    if (reason := _unsuited(spec, loaded)) is not None:
        return reason
    try:
        with torch.inference_mode():
            geometry, logits = probe_geometry(loaded, tokens)
    except STEP_ERRORS as error:
        return f"its cache has another shape ({type(error).__name__})"
    limits = choose_limits(spec, loaded, geometry.token_bytes, geometry.row_bytes)
    windows = layer_windows(loaded.model.config) or ()
    try:
        with torch.inference_mode():
            executor = kind(loaded, geometry, windows, limits)
    except STEP_ERRORS as error:
        return f"its layers have other parts ({type(error).__name__})"
    rehearsal = _Rehearsal(executor, loaded, tokens, logits)
    reason = rehearsal.fails()
    if reason is not None and geometry.row_bytes:
        executor.chunks = False  # Mamba's first kind begins several tokens from nothing
        reason = rehearsal.fails()
    return reason or (rehearsal, limits)


def _fuse(spec: LLMSpec, rehearsal: _Rehearsal) -> None:
    """Let our own pass compute in place of the model's, where it gives the same logits."""
    executor, loaded = rehearsal.executor, rehearsal.loaded
    if not spec.engine_args.get(FUSED, loaded.device.type == "cpu"):
        return
    try:
        executor.fused = FusedModel(loaded.model, layer_windows(loaded.model.config) or ())
    except STEP_ERRORS as error:
        log.debug("no fused pass for this model: %s", error)
        return
    if (reason := rehearsal.fails()) is not None:
        log.info("this model is computed by its own forward pass: the fused one %s", reason)
        executor.fused = None


def _pack(rehearsal: _Rehearsal, kind: type[Plain | Prepacked | Int8]) -> None:
    """Make products of the model's linear layers; back to the layers where the model cannot do
    without them.
    """
    executor, model = rehearsal.executor, rehearsal.loaded.model
    with torch.no_grad():
        if executor.fused is not None:
            pack_stacks(model, executor.fused.stacks, kind)
            executor.fused.step = kind.step
        elif kind is Prepacked:
            undo = pack_others(model, kind)
            if (reason := rehearsal.fails()) is not None:
                log.info("this model's weights stay as they are: %s", reason)
                undo()


def _unsuited(spec: LLMSpec, loaded: LoadedModel) -> str | None:
    """Why slots cannot hold what this model remembers, from its configuration."""
    config = loaded.model.config
    if config.is_encoder_decoder:
        return "it is an encoder and a decoder"
    try:
        windows = layer_windows(config)
    except STEP_ERRORS as error:
        return f"its cache is unknown ({type(error).__name__})"
    if windows is None:
        return "some layers keep other things than keys and values"
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    kinds = {item.get("rope_type") for item in (rope, *rope.values()) if isinstance(item, dict)}
    original = rope.get("original_max_position_embeddings") or loaded.context
    if "dynamic" in kinds and (spec.max_model_len or loaded.context) > original:
        # The rotation depends on the longest sequence of the batch: rows would change each other.
        return "its positions are scaled by the longest sequence"
    return None
