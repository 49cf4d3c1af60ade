"""Choose how a model is run: over slots when a rehearsal gives the model's own logits, else one
sequence at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import torch

from openllm.backends.base import join
from openllm.backends.pytorch.forward.executor import Executor, PrefixCounts
from openllm.backends.pytorch.forward.flat import FlatExecutor, layer_windows, probe_geometry
from openllm.backends.pytorch.forward.fused import FusedModel
from openllm.backends.pytorch.forward.solo import SoloExecutor
from openllm.backends.pytorch.linear.packing import choose_kind, pack_others, pack_stacks
from openllm.backends.pytorch.linear.products import Int8, Plain, Prepacked
from openllm.backends.pytorch.loading.loader import (
    FUSED,
    EngineLimits,
    LoadedModel,
    choose_limits,
)
from openllm.backends.pytorch.lora.adapters import AdapterBank
from openllm.backends.pytorch.sequence import Job, Sequence, StepWork
from openllm.backends.pytorch.steps import STEP_ERRORS
from openllm.backends.stream import Inbox
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedCombination
from openllm.types import SamplingParams, TokenRequest

log = logging.getLogger(__name__)

REHEARSAL = 12  # prompt tokens


def choose_executor(spec: LLMSpec, loaded: LoadedModel) -> tuple[Executor, EngineLimits]:
    """The executor that suits the model, and the limits it works within; the model's linear layers
    are products of the right kind afterwards. Errors: ConfigurationError.
    """
    kind = choose_kind(spec, loaded)
    flat = _choose_flat(spec, loaded)
    if isinstance(flat, str):
        log.info("this model is run one sequence at a time: %s", flat)
        limits = choose_limits(spec, loaded, 0)
        pack_whole(spec, loaded)
        return SoloExecutor(loaded, limits), limits
    rehearsal, limits = flat
    _fuse(spec, rehearsal)
    if rehearsal.executor.fused is None and kind is Int8:
        pack_whole(spec, loaded)
    else:
        _pack(rehearsal, kind)
    return rehearsal.executor, limits


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
            loaded.model(input_ids=torch.tensor([_rehearsal_tokens(loaded)]))
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
            return _rehearse(self.executor, self.loaded, self.tokens, self.logits)


def _choose_flat(spec: LLMSpec, loaded: LoadedModel) -> tuple[_Rehearsal, EngineLimits] | str:
    """An executor over slots that has passed its rehearsal, or why there is none."""
    if (reason := _unsuited(spec, loaded)) is not None:
        return reason
    tokens = _rehearsal_tokens(loaded)
    try:
        with torch.inference_mode():
            geometry, logits = probe_geometry(loaded, tokens)
    except STEP_ERRORS as error:
        return f"its cache has another shape ({type(error).__name__})"
    limits = choose_limits(spec, loaded, geometry.token_bytes)
    executor = FlatExecutor(loaded, geometry, layer_windows(loaded.model.config) or (), limits)
    rehearsal = _Rehearsal(executor, loaded, tokens, logits)
    return rehearsal.fails() or (rehearsal, limits)


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
    if kinds & {"dynamic", "longrope"} and (spec.max_model_len or loaded.context) > original:
        # Their rotation depends on the longest sequence of the batch, so rows would change each
        # other.
        return "its positions are scaled by the longest sequence"
    return None


def _rehearsal_tokens(loaded: LoadedModel) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    return [
        int(token)
        for token in torch.randint(0, loaded.vocab_size, (REHEARSAL,), generator=generator)
    ]


def _rehearse(
    executor: FlatExecutor, loaded: LoadedModel, tokens: list[int], expected: torch.Tensor
) -> str | None:
    """Run the tokens in parts, beside a second sequence, and compare with the model's own logits;
    None when equal.
    """
    bank = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    whole, beside = _sequence(tokens), _sequence(tokens[:5])
    try:
        if not executor.begin(whole):
            return "no slot could be allocated"
        company = executor.begin(beside)  # memory may be for one alone
        found = []
        for count, other in ((5, 3), (REHEARSAL - 6, 1), (1, 1)):
            works = [StepWork(whole, count, all_logits=True)] + (
                [StepWork(beside, other)] if company else []
            )
            logits, spans = executor.forward(works, bank)
            found.append(logits[spans[0]])
            whole.computed += count
            beside.computed += other
        if company:
            found.append(logits[spans[1]])
    except STEP_ERRORS as error:
        return f"its attention is not transformers' common one ({type(error).__name__}: {error})"
    finally:
        for sequence in (whole, beside):
            executor.release(sequence, reuse=False)
        executor.prefixes = PrefixCounts()
    return _compare(torch.cat(found), torch.cat([expected, expected[4:5]]) if company else expected)


def _compare(found: torch.Tensor, expected: torch.Tensor) -> str | None:
    if found.shape != expected.shape:
        return f"its logits have the shape {tuple(found.shape)}"
    tolerance = 1e-3 if expected.dtype == torch.float32 else 0.1
    off = float((found.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-6))
    return None if off < tolerance else f"attention over slots is off by {off:.2g}"


def _sequence(tokens: list[int]) -> Sequence:
    request = TokenRequest("rehearsal", tokens, SamplingParams(max_tokens=1))
    loop: Any = asyncio.new_event_loop()
    job = Job(request, Inbox(join), loop)
    loop.close()
    job.sequences = [Sequence(job, 0, list(tokens), len(tokens), 0)]
    return job.sequences[0]
