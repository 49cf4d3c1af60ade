"""From a spec to vLLM's engine arguments: a pure mapping, the same on every machine that looks the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, option
from openllm.hardware.cache import CacheLayout
from openllm.hardware.fit import cpu_cache, plan_cpu_cache
from openllm.hardware.parallel import ParallelPlan, plan_parallel
from openllm.hardware.shape import ModelShape

# Our name -> vLLM's. A value that was not said is left to vLLM.
NAMES: Mapping[str, str] = {
    "dtype": "dtype",
    "quantization": "quantization",
    "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "kv_cache_memory": "kv_cache_memory_bytes",
    "kv_cache_dtype": "kv_cache_dtype",
    "enable_prefix_caching": "enable_prefix_caching",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "data_parallel_size": "data_parallel_size",
    "enable_expert_parallel": "enable_expert_parallel",
    "distributed_executor": "distributed_executor_backend",
    "enforce_eager": "enforce_eager",
    "seed": "seed",
    "trust_remote_code": "trust_remote_code",
    "max_adapters": "max_loras",
    "max_lora_rank": "max_lora_rank",
}
# What openllm itself decides, with the option to use instead.
OURS: Mapping[str, str] = {
    "model": option("model_id"),
    "tokenizer": option("model_id"),
    "served_model_name": option("name"),
    "revision": option("revision"),
    "runner": option("task"),
    "enable_lora": f"{option('adapters')} or {option('max_adapters')}",
}
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
DRAFT_TOKENS = 4  # drafted per step by a speculative model when nothing is said
CPU_BLOCK, CPU_SPARE = 128, 2  # tokens of a block of the CPU's KV cache, and blocks to spare


@attrs.frozen
class Machine:
    """What the engine will run on."""

    platform: str = "cuda"  # or "cpu", "rocm", ...
    gpus: int = 0  # visible ones
    free_memory: int = 0  # bytes of RAM


@attrs.frozen
class Arguments:
    """Keyword arguments of AsyncEngineArgs, and lines that tell the user what was decided."""

    values: dict[str, Any]
    lines: tuple[str, ...]


def engine_arguments(
    spec: LLMSpec, weights_dir: Path, shape: ModelShape, machine: Machine, ranks: Sequence[int] = ()
) -> Arguments:
    """The arguments for `spec`; `ranks` are those of the adapters that will be mounted.

    Errors: ConfigurationError when an engine argument is openllm's to decide, or is said twice and
    differently.
    """
    said = _said(spec)
    plan = plan_parallel(
        shape,
        machine.gpus if machine.platform != "cpu" else 1,
        said.get("tensor_parallel_size"),
        said.get("pipeline_parallel_size"),
        data=said.get("data_parallel_size"),
        experts=bool(said.get("enable_expert_parallel")),
    )
    values: dict[str, Any] = {
        **said,
        "tensor_parallel_size": plan.tensor,
        "model": str(weights_dir),
    }
    if spec.task != "generate":
        values["runner"] = "pooling"
    values.update(_speculation(spec))
    values.update(_lora(spec, values, machine, ranks))
    lines = _plan_lines(plan, machine)
    if machine.platform == "cpu":
        lines += _fit_cpu(values, shape, machine)
    return Arguments(values, tuple(lines))


def _said(spec: LLMSpec) -> dict[str, Any]:
    """What the spec says, by vLLM's names."""
    said = dict(spec.engine_args)
    for name in said:
        if name in OURS:
            raise ConfigurationError(
                f"openllm sets vLLM's {name} itself.", hint=f"Use {OURS[name]}.", param=name
            )
    defaults = attrs.fields_dict(LLMSpec)
    for ours, theirs in NAMES.items():
        value = getattr(spec, ours)
        if value is None or value == defaults[ours].default:
            continue
        if theirs in said and said[theirs] != value:
            raise ConfigurationError(
                f"{ours} is {value!r} and the engine argument {theirs} is {said[theirs]!r}.",
                hint="They mean the same: give one of them.",
                param=theirs,
            )
        said[theirs] = value
    return said


def _speculation(spec: LLMSpec) -> dict[str, Any]:
    if spec.speculative_model is None:
        return {}
    said = spec.engine_args.get("speculative_config") or {}
    if (
        not isinstance(said, Mapping)
        or said.get("model", spec.speculative_model) != spec.speculative_model
    ):
        raise ConfigurationError(
            "speculative_model and the engine argument speculative_config name different models.",
            hint="Give one of them.",
            param="speculative_config",
        )
    draft = {"num_speculative_tokens": DRAFT_TOKENS, **said, "model": spec.speculative_model}
    return {"speculative_config": draft}


def _lora(
    spec: LLMSpec, values: Mapping[str, Any], machine: Machine, ranks: Sequence[int]
) -> dict[str, Any]:
    """Slots and rank for the adapters of the spec and those that may come while serving; nothing
    without any.
    """
    if not (spec.adapters or spec.max_adapters or spec.max_lora_rank or "max_loras" in values):
        return {}
    slots = values.get("max_loras") or max(len(spec.adapters), 1)
    rank = values.get("max_lora_rank") or max(ranks, default=LORA_RANKS[1])
    # vLLM's CPU kernels apply the last slot to rows without an adapter: one slot more stays empty
    spare = 1 if machine.platform == "cpu" and "max_loras" not in spec.engine_args else 0
    return {"enable_lora": True, "max_loras": slots + spare, "max_lora_rank": lora_rank(rank)}


def lora_rank(rank: Any) -> Any:
    """The smallest rank that vLLM has buffers for and that holds `rank`. Errors:
    ConfigurationError.
    """
    if not isinstance(rank, int):
        return rank  # the type is checked with vLLM's own
    for allowed in LORA_RANKS:
        if rank <= allowed:
            return allowed
    raise ConfigurationError(
        f"vLLM serves LoRA ranks up to {LORA_RANKS[-1]}, not {rank}.", param="max_lora_rank"
    )


def _plan_lines(plan: ParallelPlan, machine: Machine) -> list[str]:
    return [] if machine.platform == "cpu" else [plan.line]


def _fit_cpu(values: dict[str, Any], shape: ModelShape, machine: Machine) -> list[str]:
    """What the CPU needs and nobody said: fp32, eager mode, whole prompts, and a KV cache that fits
    the memory.
    """
    values.setdefault("dtype", "float32")
    values.setdefault("enforce_eager", True)
    if "max_num_batched_tokens" not in values and values.get("runner") != "pooling":
        # a seeded request whose prompt is cut in two ends vLLM's CPU engine (0.32: a CPU generator
        # has no offset)
        values.setdefault("enable_chunked_prefill", False)
    if "kv_cache_memory_bytes" in values or "gpu_memory_utilization" in values:
        return []
    longest = values.get("max_model_len") or shape.longest
    layout = cpu_layout(shape, str(values["dtype"]))
    if not layout.token_bytes or not isinstance(longest, int):
        values["kv_cache_memory_bytes"] = cpu_cache(machine.free_memory)
        return []
    fixed = "max_model_len" in values
    plan = plan_cpu_cache(layout, longest, machine.free_memory, fixed=fixed)
    values["kv_cache_memory_bytes"] = plan.size
    if plan.longest == longest:
        return []
    values["max_model_len"] = plan.longest
    cut = f"max_model_len is {plan.longest} tokens of the model's {shape.longest}"
    return [f"{cut}: more does not fit the memory."]


def cpu_layout(shape: ModelShape, dtype: str) -> CacheLayout:
    """How vLLM lays out a CPU's KV cache."""
    return CacheLayout(shape.kv_bytes_per_token(dtype), CPU_BLOCK, CPU_SPARE)
