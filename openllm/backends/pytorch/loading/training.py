"""A model ready to be fine-tuned: transformers' model, fresh LoRA matrices of peft's in it, the
rest frozen.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm.backends.pytorch.loading.quantization import OWN_INT8
from openllm.backends.pytorch.options import QUANTIZATION_CONFIG
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency
from openllm.weights.origin import Origin, origin

ALL_LINEAR = "all-linear"  # peft's word for every linear layer but the output


@attrs.frozen
class LoraPlan:
    """What is to be trained. Errors: ConfigurationError."""

    rank: int = 8
    alpha: int | None = None  # None: twice the rank
    dropout: float = 0.0
    targets: Sequence[str] = ()  # last names of layers; none: all linear layers
    gradient_checkpointing: bool = False  # compute activations twice instead of keeping them

    def __attrs_post_init__(self) -> None:
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ConfigurationError("rank must be at least 1 and dropout in [0, 1).", param="rank")


def prepare_model(spec: LLMSpec, weights_dir: Path, plan: LoraPlan) -> Any:
    """A `peft.PeftModel` of the weights of `spec`, in fp32 on a CPU unless `spec` says otherwise.

    It is a model of its own: an engine that serves the same weights notices nothing. What it saves
    can be mounted, and names no path of this machine. Errors: MissingDependency, WeightsError,
    ConfigurationError.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingDependency("Training an adapter needs peft.", hint="Run: pip install peft")
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    from openllm.backends.pytorch.loading.loader import choose_device, load_model

    # the rest of the spec is about serving
    bare = LLMSpec(
        model_id=spec.model_id,
        backend="pytorch",
        device=spec.device,
        dtype=_dtype(spec, choose_device(spec).type),
        **_quantization(spec),
        trust_remote_code=spec.trust_remote_code,
    )
    model = load_model(bare, weights_dir).model
    # peft writes it into the adapter, and asks the Hub about it when it saves
    model.name_or_path = model.config._name_or_path = (
        spec.model_id if origin(spec.model_id) is Origin.HUB else ""
    )
    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=plan.gradient_checkpointing
        )
    elif plan.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha or 2 * plan.rank,
        lora_dropout=plan.dropout,
        target_modules=list(plan.targets) or ALL_LINEAR,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _quantization(spec: LLMSpec) -> dict[str, Any]:
    """int8 by bitsandbytes: gradients go through its layers, and not through the engine's own."""
    if spec.quantization == OWN_INT8:
        return {"engine_args": {QUANTIZATION_CONFIG: {"load_in_8bit": True}}}
    return {"quantization": spec.quantization}


def _dtype(spec: LLMSpec, device: str) -> str:
    return "float32" if spec.dtype == "auto" and device == "cpu" else spec.dtype
