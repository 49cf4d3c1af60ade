"""Say whether a model fits, and how: memory, context, streams, backend and the command to start."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.given.options import (
    FORMATS,
    flags,
    format_option,
    given_spec,
    spec_options,
)
from openllm.cli.given.specs import model_argument, read_resources, read_specs
from openllm.cli.output import print_json
from openllm.cli.words import FLAGS
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size, write_size
from openllm.config.spec import LLMSpec
from openllm.errors import say

if TYPE_CHECKING:
    from openllm.llm.planning import GpuTarget, Plan

# What changes a plan; the rest of a spec does not.
FIELDS = (
    *("model_id", "family", "revision", "task", "backend", "device", "dtype", "quantization"),
    *("max_model_len", "max_num_seqs", "gpu_memory_utilization", "kv_cache_memory"),
    *("kv_cache_dtype", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
    *("enable_expert_parallel", "enforce_eager"),
    *("adapters", "max_adapters", "max_lora_rank", "engine_args"),
)
_APART = ("family", "adapters", "task", "engine_args")  # left out of the command, or written apart
_MEMORY = (
    *("weights", "activations", "graphs", "adapters", "process", "cache", "loading", "needed"),
    *("peak", "room", "context", "streams", "sequence", "most_context", "most_streams"),
)


@click.command()
@model_argument
@spec_options(*FIELDS)
@click.option("--streams", type=int, metavar="N", help="The same as --max-num-seqs.")
@click.option("--gpu", metavar="NAME", help="Plan for this GPU (H100, nvidia-l4), not for here.")
@click.option("--count", type=int, default=1, show_default=True, help="So many of that GPU.")
@format_option(*FORMATS)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    recipe: Path | None,
    streams: int | None,
    gpu: str | None,
    count: int,
    output: str,
    **options: Any,
) -> None:
    """Say whether MODEL fits this machine, or others, before anything of it is fetched.

    Of a Hub id a few KB are read: its configuration and the headers of its weights.

    \b
    openllm plan demo
    openllm plan qwen --model-id Qwen/Qwen3-8B --max-model-len 32768 --streams 16
    openllm plan meta-llama/Llama-3.3-70B-Instruct --gpu H100 --count 2

    The exit code is 1 where it does not fit; 0 where that cannot be told.
    """
    if streams is not None:
        options["max_num_seqs"] = streams
    if count < 1:
        raise click.BadParameter("There is at least one.", ctx, param_hint="--count")
    from openllm.llm.planning import GpuTarget, plan

    settings, explicit = Settings.from_env(), given_spec(options)
    specs = read_specs(model, recipe, explicit, settings)
    target = GpuTarget(gpu, count) if gpu is not None else None
    if target is None and (wanted := read_resources(model, recipe, explicit, settings)).gpu_type:
        target = GpuTarget(wanted.gpu_type, wanted.gpu or 1)
    plans = [plan(spec, settings, target) for spec in specs]
    if output == "json":
        print_json([_plain(made) for made in plans] if len(plans) > 1 else _plain(plans[0]))
    else:
        for at, made in enumerate(plans):
            click.echo("\n" * bool(at) + _table(made, target))
    ctx.exit(0 if all(made.fits or made.unsure for made in plans) else 1)


def start_command(spec: LLMSpec) -> str:
    """The command line that starts `spec`."""
    words = ["openllm", "start", spec.model_id]
    for field in FIELDS[1:]:
        value = getattr(spec, field)
        if field in _APART or value in (None, (), "auto"):
            continue
        name = flags(field)[0]
        if isinstance(value, bool):
            words.append(name if value else f"--no-{name[2:]}")
        else:
            words += [name, write_size(value) if field == "kv_cache_memory" else str(value)]
    for adapter in spec.adapters:
        revision = f"@{adapter.revision}" if adapter.revision else ""
        words += [flags("adapters")[0], f"{adapter.source}{revision}:{adapter.name}"]
    for name, value in spec.engine_args.items():
        words += [flags("engine_args")[0], f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def _plain(made: Plan) -> dict[str, Any]:
    memory = made.memory
    return {
        "model_id": made.spec.model_id,
        "fits": None if made.unsure else made.fits,
        "unsure": made.unsure or None,
        "backend": made.spec.backend,
        "reason": say(made.reason, FLAGS),
        "devices": made.devices,
        "dtype": made.dtype,
        "memory": {name: getattr(memory, name) for name in _MEMORY},
        "read": made.outline.fetched,
        "command": start_command(made.started) if made.fits or made.unsure else None,
        "helps": [
            {
                "option": flags(field)[0],
                "value": getattr(spec, field),
                "command": start_command(spec),
            }
            for field, spec in made.helps
        ],
    }


def _table(made: Plan, target: GpuTarget | None) -> str:
    memory, parts = made.memory, made.model.parts
    each = " (of each GPU)" if len(memory.place.gpus) > 1 else ""
    inside = [
        f"{readable_size(size)} of {what}"
        for what, size in (("experts", parts.experts), ("towers for images", parts.sight))
        if size
    ]
    said = made.spec.quantization or made.dtype
    rows = [
        ("weights", memory.weights, ", ".join([said, *inside])),
        ("keys and values", memory.sequence * memory.streams, _streams(made)),
        ("activations", memory.activations, "of the largest step"),
        ("recorded steps", memory.graphs, "CUDA graphs"),
        ("adapters", memory.adapters, "LoRA"),
        ("the engine itself", memory.process, "context" if memory.place.on_gpu else "process"),
    ]
    lines = [made.spec.model_id, say(made.reason, FLAGS), made.devices, ""]
    lines += [f"{name:18}{readable_size(size):>12}  {what}" for name, size, what in rows if size]
    lines.append(f"{'needed':18}{readable_size(memory.needed):>12}  {_peak(made)}".rstrip())
    lines.append(f"{'there is':18}{readable_size(memory.room):>12}{each}")
    lines += ["", *_verdict(made)]
    return "\n".join(lines)


def _streams(made: Plan) -> str:
    memory = made.memory
    times = f"{memory.streams} x " if memory.streams > 1 else ""
    return f"{times}{memory.context} tokens, {readable_size(memory.sequence)} each"


def _peak(made: Plan) -> str:
    memory = made.memory
    if memory.needed > memory.weights + memory.process + memory.serving:
        return f"while it loads: {readable_size(memory.loading)} beside the weights"
    return ""


def _verdict(made: Plan) -> list[str]:
    memory = made.memory
    if made.unsure:
        said = f"Whether it fits cannot be told: {made.unsure}"
        return [said, start_command(made.started)]
    if made.fits:
        most = f"{memory.most_context} tokens. At once: {memory.most_streams}"
        said = f"It fits. Largest context: {most} of {memory.context} tokens."
        return [said, start_command(made.started)]
    lines = [f"It does not fit: {say(made.why_not, FLAGS)}"]
    lines += [
        f"It would with {flags(field)[0]} {getattr(spec, field)}: {start_command(spec)}"
        for field, spec in made.helps
    ]
    return lines if made.helps else [*lines, "Take a smaller model, or more memory."]
