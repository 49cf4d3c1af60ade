"""How weights are quantized while they load: short names, or transformers' own configuration."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from openllm.backends.pytorch.options import QUANTIZATION_CONFIG
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency, UnsupportedCombination

OWN_INT8 = "int8"  # on a CPU; on a GPU it is bitsandbytes'


def is_own_int8(spec: LLMSpec, device: torch.device) -> bool:
    """Whether the engine quantizes the weights itself (`linear`), once they are loaded."""
    return spec.quantization == OWN_INT8 and device.type == "cpu"


def quantization_config(spec: LLMSpec, device: torch.device) -> Any:
    """transformers' object for the spec's short name, or for the fields under
    `engine_args["quantization_config"]`.

    None: transformers leaves the weights as they are. Errors: MissingDependency,
    UnsupportedCombination, ConfigurationError.
    """
    fields = spec.engine_args.get(QUANTIZATION_CONFIG)
    if fields is None:
        name = None if is_own_int8(spec, device) else spec.quantization
        return None if name is None else _by_name(name)
    if spec.quantization is not None:
        raise UnsupportedCombination(
            f"Both quantization and {QUANTIZATION_CONFIG} are given.",
            hint="Drop one.",
            param=QUANTIZATION_CONFIG,
        )
    return _by_fields(fields)


def _by_fields(fields: Any) -> Any:
    from transformers.quantizers.auto import AutoQuantizationConfig

    try:
        return AutoQuantizationConfig.from_dict(dict(fields))
    except (TypeError, ValueError, KeyError, AttributeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"{QUANTIZATION_CONFIG} cannot be read: {reason}", param=QUANTIZATION_CONFIG
        ) from error


def _by_name(name: str) -> Any:
    package = "torchao" if name.startswith("torchao") else "bitsandbytes"
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(
            f"Quantization {name!r} needs {package}.", hint=f"Run: pip install {package}"
        )
    if name == "torchao-int8":
        # an optional extra
        from torchao.quantization import Int8WeightOnlyConfig  # type: ignore[import-not-found]
        from transformers import TorchAoConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    from transformers import BitsAndBytesConfig

    if name == OWN_INT8:
        return BitsAndBytesConfig(load_in_8bit=True)
    kinds = {"nf4": "nf4", "int4": "fp4"}
    if name not in kinds:
        raise UnsupportedCombination(
            f"The pytorch backend has no quantization {name!r}.", param="quantization"
        )
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kinds[name])
