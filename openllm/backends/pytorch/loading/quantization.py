"""How weights are quantized while they load: short names, or transformers' own configuration."""

from __future__ import annotations

import importlib.util
from typing import Any

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency, UnsupportedCombination

CONFIG = "quantization_config"  # the engine argument


def quantization_config(spec: LLMSpec) -> Any:
    """transformers' object for the spec's short name, or for the fields under
    `engine_args["quantization_config"]`.

    None: the weights stay as they are. Errors: MissingDependency, UnsupportedCombination,
    ConfigurationError.
    """
    fields = spec.engine_args.get(CONFIG)
    if fields is None:
        return None if spec.quantization is None else _by_name(spec.quantization)
    if spec.quantization is not None:
        raise UnsupportedCombination(
            f"Both quantization and {CONFIG} are given.", hint="Drop one.", param=CONFIG
        )
    return _by_fields(fields)


def _by_fields(fields: Any) -> Any:
    from transformers.quantizers.auto import AutoQuantizationConfig

    try:
        return AutoQuantizationConfig.from_dict(dict(fields))
    except (TypeError, ValueError, KeyError, AttributeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"{CONFIG} cannot be read: {reason}", param=CONFIG) from error


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

    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    kinds = {"nf4": "nf4", "int4": "fp4"}
    if name not in kinds:
        raise UnsupportedCombination(
            f"The pytorch backend has no quantization {name!r}.", param="quantization"
        )
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kinds[name])
