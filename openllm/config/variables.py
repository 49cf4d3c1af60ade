"""How the text of an environment variable is read, and the table of those that override LLMSpec's
fields.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.config.sizes import parse_size
from openllm.errors import ConfigurationError
from openllm.facts import backend_names, canonical_name

PREFIX = "OPENLLM_"
_SWITCH = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


@attrs.frozen
class Variable:
    """One row of the table: the variable's name, how its text is read, what it means."""

    name: str  # OPENLLM_PORT
    field: str  # port
    kind: str  # a key of PARSERS
    meaning: str
    default: Any = None
    secret: bool = False
    words: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values there are; empty: any."""
        return backend_names() if self.kind == "backend" else self.words

    def read(self, text: str) -> Any:
        """`text` as a value of this kind. Errors: ConfigurationError that names the variable, and
        hides a secret.
        """
        if self.secret and not text.strip():
            raise ConfigurationError(
                f"{self.name} is set but empty.", hint="Unset it, or give it a key."
            )
        try:
            value = PARSERS[self.kind](text)
        except ValueError as error:
            shown = "its value" if self.secret else repr(text)
            raise ConfigurationError(f"{self.name}: {shown} {error}.", param=self.field) from None
        if self.choices and value not in self.choices:
            raise ConfigurationError(
                f"{self.name}: {text!r} is not one of {', '.join(self.choices)}.", param=self.field
            )
        return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ValueError("is not a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(value):
        raise ValueError("is not a finite number")
    return value


def _switch(text: str) -> bool:
    try:
        return _SWITCH[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither true nor false") from None


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError('is not a JSON object: write {"key": value}')
    return value


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "verbatim": str,  # like text, but an empty value says something
    "backend": canonical_name,
    "path": lambda text: Path(text).expanduser(),
    "integer": _whole,
    "number": _number,
    "size": parse_size,
    "switch": _switch,
    "mapping": _mapping,
    "list": _list,
}


def _spec(field: str, kind: str, meaning: str, *words: str) -> Variable:
    return Variable(PREFIX + field.upper(), field, kind, meaning, words=words)


# One row per LLMSpec field (a test compares them); the options of `openllm start` and `build` come
# from here too.
SPEC_VARIABLES: tuple[Variable, ...] = (
    _spec("model_id", "text", "The model: a directory, a Hub id, a model-store tag or demo."),
    _spec("family", "text", "The family whose defaults apply, when the model does not say it."),
    _spec(
        "family_defaults",
        "switch",
        "Take the family's sampling and formats; by default where its id, or its chat template and"
        " tokenizer, show that the model is the family's own.",
    ),
    _spec("revision", "text", "Branch, tag or commit of a Hub id."),
    _spec(
        "name",
        "text",
        "What requests call the model; by default the Hub id or the directory's name.",
    ),
    _spec("aliases", "list", "Further names of the model, separated by commas."),
    _spec("task", "text", "What the model does.", "generate", "embed", "classify"),
    _spec("backend", "backend", "The engine; by default vLLM where it is usable, else PyTorch."),
    _spec("device", "text", "Where the engine runs: cpu, cuda, cuda:1, mps."),
    _spec("dtype", "text", "Number format of the weights: auto, float32, bfloat16, float16."),
    _spec(
        "quantization",
        "text",
        "Load the weights quantized: int8, int4, nf4, torchao-int8 on PyTorch; vLLM's own names"
        " there.",
    ),
    _spec("max_model_len", "integer", "Longest prompt plus answer, in tokens."),
    _spec("max_num_seqs", "integer", "Answers that are decoded at once."),
    _spec(
        "max_queue", "integer", "Requests that may wait beyond those; more are refused with 503."
    ),
    _spec(
        "gpu_memory_utilization",
        "number",
        "Share of the GPU's memory that vLLM may take, above 0 and up to 1.",
    ),
    _spec("kv_cache_memory", "size", "Memory of the KV cache in bytes, such as 512MiB or 4GiB."),
    _spec("kv_cache_dtype", "text", "Number format of the KV cache, such as fp8."),
    _spec("enable_prefix_caching", "switch", "Keep the KV cache of shared prompt beginnings."),
    _spec(
        "replicas",
        "integer",
        "Engines that share the requests, each in a process and on GPUs of its own.",
    ),
    _spec(
        "routing",
        "text",
        "Which replica answers: the least loaded, or the one that has the prompt's beginning.",
        "least-loaded",
        "cache-aware",
    ),
    _spec(
        "tensor_parallel_size",
        "integer",
        "GPUs that share each layer; by default from the visible GPUs and the heads.",
    ),
    _spec("pipeline_parallel_size", "integer", "Groups of GPUs that take the layers in turn."),
    _spec(
        "data_parallel_size", "integer", "Copies of the model that one vLLM engine spreads over."
    ),
    _spec(
        "enable_expert_parallel",
        "switch",
        "Keep a model's experts whole, each on one GPU, in place of a part of every one (vLLM).",
    ),
    _spec("distributed_executor", "text", "How vLLM starts its workers.", "mp", "ray"),
    _spec("speculative_model", "text", "A smaller model that drafts tokens for this one (vLLM)."),
    _spec(
        "enforce_eager", "switch", "Do not capture CUDA graphs: a faster start, slower decoding."
    ),
    _spec("seed", "integer", "Seed of the engine; a request's own seed wins."),
    _spec(
        "trust_remote_code",
        "switch",
        "Allow pickled weights and Python code that come with the model.",
    ),
    _spec("chat_template", "text", "A Jinja chat template that replaces the tokenizer's."),
    _spec(
        "tool_format",
        "text",
        "How the model writes calls of tools, such as hermes; by default what its chat template"
        " shows.",
    ),
    _spec(
        "reasoning_format",
        "text",
        "How the model marks its thoughts, such as think; none: they are text; by default what its"
        " chat template shows.",
    ),
    _spec("adapters", "list", "LoRA adapters as SOURCE[@REVISION][:NAME], separated by commas."),
    _spec("max_adapters", "integer", "Adapters resident at once."),
    _spec("max_lora_rank", "integer", "Highest LoRA rank that may be mounted."),
    _spec(
        "sampling",
        "mapping",
        'Sampling defaults of requests as a JSON object, such as {"temperature": 0.2}.',
    ),
    _spec(
        "template_kwargs",
        "mapping",
        "Default arguments of the chat template as a JSON object, such as"
        ' {"enable_thinking": false}.',
    ),
    _spec("engine_args", "mapping", "The engine's own options by its own names, as a JSON object."),
)
