"""What a spec asks for that its model or its engine cannot do, found from options and files alone,
before anything is loaded.
"""

from __future__ import annotations

from pathlib import Path

from openllm import models
from openllm.backends.select import select_backend
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.discovery import did_you_mean
from openllm.errors import ConfigurationError, UnsupportedCombination, option
from openllm.hardware.devices import require_device
from openllm.hardware.shape import longest_context
from openllm.weights.checkpoint import architecture
from openllm.weights.resolve import read_config

DTYPES = ("auto", "float32", "float", "bfloat16", "float16", "half")
_SHORT_DTYPES = {"fp16": "float16", "f16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def check_options(
    spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
) -> None:
    """`sure` may import the engine to look, for the process that will run it.

    Errors: ConfigurationError for a device that is not here, a context beyond the model's, a
    family of other models, or an option that the engine would have to ignore; MissingDependency
    when no engine can run here.
    """
    backend = select_backend(spec, settings)[0]
    if backend.facts.uses_gpu:
        require_device(spec.device, settings.visible_devices)
    _check_dtype(spec.dtype)
    check_family(spec, weights_dir)
    if not backend.judges_context(spec):
        _check_context(spec, weights_dir)
    backend.check_options(spec, weights_dir, settings, sure=sure)


def check_family(spec: LLMSpec, weights_dir: Path) -> None:
    """Errors: UnsupportedCombination when the spec names a family of other models."""
    if spec.family is None or (own := architecture(weights_dir)) is None:
        return
    family, found = models.get(spec.family), models.resolve(spec.model_id, own)
    if not family.architectures or own in family.architectures or found is family:
        return
    better = "" if found.name == models.GENERIC else f", or give {option('family', found.name)}"
    raise UnsupportedCombination(
        f"The model is of the architecture {own}, and the family {family.name} is for"
        f" {' and '.join(family.architectures)}.",
        hint=f"Leave {option('family')} out{better}.",
        param="family",
    )


def _check_context(spec: LLMSpec, weights_dir: Path) -> None:
    """Errors: ConfigurationError."""
    if spec.max_model_len is None:
        return
    longest = longest_context(read_config(weights_dir))
    if longest and spec.max_model_len > longest:
        raise ConfigurationError(
            f"{option('max_model_len', spec.max_model_len)} is more than the model's context of"
            f" {longest} tokens.",
            hint=f"Give {option('max_model_len', longest)} or less, or leave it out.",
            param="max_model_len",
        )


def _check_dtype(value: str) -> None:
    """Refuse what is no number format, naming the one that was meant."""
    if value not in DTYPES:
        meant = _SHORT_DTYPES.get(value.lower())
        hint = f"Did you mean {meant}?" if meant else did_you_mean(value, DTYPES)
        raise ConfigurationError(
            f"There is no {option('dtype', value)}.",
            hint=hint or f"There are {', '.join(DTYPES)}.",
            param="dtype",
        )
