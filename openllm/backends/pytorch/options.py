"""Options of a deployment that the PyTorch engine does not have or cannot follow, found without
importing torch.
"""

from __future__ import annotations

from typing import Any

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, UnsupportedCombination, option
from openllm.hardware.devices import kind_of, runs_on_gpu

ATTENTION = "attn_implementation"
QUANTIZATION_CONFIG = "quantization_config"
# Switches: our own forward pass where there is one for the model, and weights laid out anew for the
# CPU's products. Not said: both on a CPU.
FUSED, PACKED = "fused_forward", "pack_weights"
# What engine_args may hold.
OPTIONS = ("prefill_tokens", ATTENTION, QUANTIZATION_CONFIG, FUSED, PACKED)
DEVICES = ("auto", "cpu", "cuda", "mps")


def refuse_unsupported(spec: LLMSpec) -> None:
    """Say at once which options this engine does not have. Errors: UnsupportedCombination,
    ConfigurationError.
    """
    single = {
        "tensor_parallel_size": spec.tensor_parallel_size,
        "pipeline_parallel_size": spec.pipeline_parallel_size,
        "data_parallel_size": spec.data_parallel_size,
    }
    for name, size in single.items():
        if size is not None and size > 1:
            raise UnsupportedCombination(
                f"The pytorch backend runs on one device; {option(name)} is {size}.",
                hint=f"Leave it out, or take {option('backend', 'vllm')}.",
                param=name,
            )
    others = ("speculative_model", "kv_cache_dtype", "distributed_executor")
    for name in (*others, "enable_expert_parallel"):
        if getattr(spec, name) not in (None, "auto", False):
            raise UnsupportedCombination(
                f"The pytorch backend has no {option(name)}.",
                hint=f"Leave it out, or take {option('backend', 'vllm')}.",
                param=name,
            )
    if spec.device is not None and kind_of(spec.device) not in DEVICES:
        raise ConfigurationError(
            f"The pytorch backend runs on no device {spec.device!r}.",
            hint=f"It runs on {', '.join(DEVICES[1:])}.",
            param="device",
        )
    for name, value in spec.engine_args.items():
        _refuse_argument(name, value, spec.task)


def refuse_without_gpu(spec: LLMSpec, mask: str | None) -> None:
    """Refuse what says something of a GPU only, on a machine (or with a device) that is none.
    Errors: ConfigurationError.
    """
    if spec.gpu_memory_utilization is not None and not runs_on_gpu(spec.device, mask):
        named = spec.device is not None and spec.device != "auto"
        why = option("device", spec.device) if named else "none is visible here"
        raise ConfigurationError(
            f"{option('gpu_memory_utilization')} is for a GPU, and {why}: the pytorch backend would"
            " run on the CPU.",
            hint=f"Leave it out; {option('kv_cache_memory')} says how large the cache may be.",
            param="gpu_memory_utilization",
        )


def _refuse_argument(name: str, value: Any, task: str) -> None:
    """One of engine_args. Errors: ConfigurationError, UnsupportedCombination."""
    if name not in OPTIONS:
        raise ConfigurationError(
            f"The pytorch backend has no option {name!r}.",
            hint=f"It has: {', '.join(OPTIONS)}.",
            param=name,
        )
    if name == ATTENTION and value != "sdpa" and task == "generate":
        raise UnsupportedCombination(
            f"The pytorch backend decodes with attention of its own, over sdpa; {name} is"
            f" {value!r}.",
            param=name,
        )
    if name in (FUSED, PACKED) and not isinstance(value, bool):
        raise ConfigurationError(
            f"engine_args {name} must be true or false, got {value!r}.", param=name
        )
    if name == "prefill_tokens" and (
        isinstance(value, bool) or not isinstance(value, int) or value < 1
    ):
        raise ConfigurationError(
            f"engine_args {name} must be a whole number above 0, got {value!r}.", param=name
        )
