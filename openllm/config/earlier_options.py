"""What options were called in OpenLLM 0.3 to 0.6, as options of an `LLMSpec`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openllm.errors import ConfigurationError, option


def _quantize(name: str, value: Any) -> dict[str, Any]:
    return {"quantization": value}


def _serialisation(name: str, value: Any) -> dict[str, Any]:
    """How weights were stored; they are safetensors now, unless the model has others only."""
    if value not in (None, "safetensors"):
        raise ConfigurationError(
            f"{name}={value!r} is gone: weights are stored as the model has them.",
            hint=f"Leave it out; pickled weights load with {option('trust_remote_code', True)}.",
            param=name,
        )
    return {}


def _adapters(name: str, value: Any) -> dict[str, Any]:
    """`{source: name}` as a list of adapters; what is no mapping is left to the spec."""
    if not isinstance(value, Mapping):
        return {"adapters": value}
    for source, said in value.items():
        if not isinstance(source, str) or not (said is None or isinstance(said, str)):
            raise ConfigurationError(
                f"{name} cannot hold {source!r}: {said!r}.",
                hint="Write {source: name}, or a list of SOURCE:NAME.",
                param=name,
            )
    return {"adapters": [f"{source}:{said}" if said else source for source, said in value.items()]}


READERS: Mapping[str, Callable[[str, Any], dict[str, Any]]] = {
    "quantize": _quantize,
    "quantise": _quantize,
    "serialisation": _serialisation,
    "serialization": _serialisation,
    "adapter_map": _adapters,
    "adapters": _adapters,
}
