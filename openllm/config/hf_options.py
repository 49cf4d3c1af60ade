"""The keyword arguments of transformers' `from_pretrained`, and those of earlier versions of
openllm, as options of an `LLMSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openllm.config import earlier_options
from openllm.errors import ConfigurationError, UnsupportedCombination

# Passed on by their own names; the PyTorch engine knows them, vLLM says that it has no such
# argument.
_ENGINE_ARGS = ("attn_implementation", "quantization_config")
_SPREADING = ("balanced", "balanced_low_0", "sequential")
# Arguments that have another place here; None and False say what holds anyway.
_ELSEWHERE = {
    "use_auth_token": "Pass token.",
    "local_files_only": "Set HF_HUB_OFFLINE=1, or pass ensure_available=False to for_model.",
    "cache_dir": "Set HF_HUB_CACHE.",
    "force_download": "Delete the model from the Hub's cache first.",
    "resume_download": "Downloads are always resumed.",
    "proxies": "Set HTTPS_PROXY.",
    "tp_plan": "Use backend='vllm' with tensor_parallel_size.",
    "max_memory": "Set kv_cache_memory (bytes), or gpu_memory_utilization.",
    "output_attentions": "Use llm.model for a forward pass of your own.",
    "output_hidden_states": "Use llm.embed, or llm.model for a forward pass of your own.",
}
_SHORT_QUANTIZATION = {"load_in_8bit": "int8", "load_in_4bit": "nf4"}


def translate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with transformers' names replaced by ours; what is ours already stays as it is.

    Knows dtype and torch_dtype (texts or torch dtypes), device_map, attn_implementation,
    quantization_config, load_in_8bit, load_in_4bit, use_safetensors and low_cpu_mem_usage. Of the
    others it knows what does the same here. Errors: ConfigurationError for a value that cannot be
    kept, UnsupportedCombination for two that contradict.
    """
    ours: dict[str, Any] = {}
    engine_args = dict(options.get("engine_args") or {})
    for name, value in options.items():
        if name in _ENGINE_ARGS:
            if value is not None:
                engine_args[name] = _plain(value)
        elif name in _ELSEWHERE:
            if value not in (None, False):
                raise ConfigurationError(
                    f"{name} is not taken here.", hint=_ELSEWHERE[name], param=name
                )
        elif name in _READERS:
            for key, item in _READERS[name](name, value).items():
                _put(ours, key, item, name)
        elif name != "engine_args":
            _put(ours, name, value, name)
    return {**ours, "engine_args": engine_args} if engine_args else ours


def _put(ours: dict[str, Any], key: str, value: Any, said: str) -> None:
    if key in ours and ours[key] is not None and value is not None and ours[key] != value:
        raise UnsupportedCombination(
            f"{said} says {key}={value!r}, another argument {ours[key]!r}.", param=key
        )
    ours[key] = value if value is not None else ours.get(key)


def _dtype(name: str, value: Any) -> dict[str, Any]:
    return {"dtype": None if value is None else str(value).removeprefix("torch.")}


def _device(name: str, value: Any) -> dict[str, Any]:
    return {"device": None if value is None else str(value)}


def _device_map(name: str, value: Any) -> dict[str, Any]:
    """One device for the whole model; "auto" is what we do anyway."""
    if isinstance(value, Mapping) and len(set(map(str, value.values()))) == 1:
        value = next(iter(value.values()))
    if isinstance(value, Mapping) or value in _SPREADING:
        raise ConfigurationError(
            "device_map spreads the model over several devices.",
            hint="Use backend='vllm' with tensor_parallel_size.",
            param="device_map",
        )
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"cuda:{value}"
    return {} if value in (None, "auto") else {"device": str(value)}


def _short_quantization(name: str, value: Any) -> dict[str, Any]:
    return {"quantization": _SHORT_QUANTIZATION[name]} if value else {}


def _only_true(name: str, value: Any) -> dict[str, Any]:
    if value is False:
        raise ConfigurationError(f"{name}=False cannot be done.", hint=f"Drop {name}.", param=name)
    return {}


def _plain(value: Any) -> Any:
    """A transformers configuration object as the mapping it stands for."""
    return value.to_dict() if hasattr(value, "to_dict") else value


_READERS: Mapping[str, Callable[[str, Any], dict[str, Any]]] = {
    **earlier_options.READERS,
    "dtype": _dtype,
    "torch_dtype": _dtype,
    "device": _device,
    "device_map": _device_map,
    "load_in_8bit": _short_quantization,
    "load_in_4bit": _short_quantization,
    "use_safetensors": _only_true,
    "low_cpu_mem_usage": _only_true,
}
