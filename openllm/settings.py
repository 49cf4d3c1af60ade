"""The only reader of the environment: every variable that openllm knows, typed, with its meaning."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from openllm.errors import ConfigurationError

PREFIX = "OPENLLM_"
_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)}
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@attrs.frozen
class Variable:
    """One row of the table: the variable's name, how its text is read, what it means."""

    name: str  # OPENLLM_PORT
    field: str  # port
    kind: str  # a key of PARSERS
    meaning: str
    default: Any = None
    secret: bool = False
    choices: tuple[str, ...] = ()

    def read(self, text: str) -> Any:
        """`text` as a value of this kind. Errors: ConfigurationError that names the variable, and hides a secret."""
        if self.secret and not text.strip():
            raise ConfigurationError(f"{self.name} is set but empty.", hint="Unset it, or give it a key.")
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


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})", text.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError("is not a size in bytes: write 1048576, 64MiB or 2GB")
    return int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]


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
    "path": lambda text: Path(text).expanduser(),
    "integer": _whole,
    "number": _number,
    "size": _size,
    "switch": _switch,
    "mapping": _mapping,
    "list": _list,
}


def _spec(field: str, kind: str, meaning: str, *choices: str) -> Variable:
    return Variable(PREFIX + field.upper(), field, kind, meaning, choices=choices)


# One row per LLMSpec field (a test compares them); the options of `openllm start` and `build` come from here too.
SPEC_VARIABLES: tuple[Variable, ...] = (
    _spec("model_id", "text", "The model: a directory, a Hub id, a model-store tag, a family's name or demo."),
    _spec("family", "text", "The family whose defaults apply, when the model does not say it."),
    _spec("revision", "text", "Branch, tag or commit of a Hub id."),
    _spec("name", "text", "What requests call the model; by default the Hub id or the directory's name."),
    _spec("task", "text", "What the model does.", "generate", "embed"),
    _spec(
        "backend",
        "text",
        "The engine; by default vLLM where it is usable, else PyTorch.",
        "vllm",
        "pytorch",
        "tf",
        "flax",
        "echo",
    ),
    _spec("device", "text", "Where the engine runs: cpu, cuda, cuda:1, mps."),
    _spec("dtype", "text", "Number format of the weights: auto, float32, bfloat16, float16."),
    _spec(
        "quantization",
        "text",
        "Load the weights quantized: int8, int4, nf4, torchao-int8 on PyTorch; vLLM's own names there.",
    ),
    _spec("max_model_len", "integer", "Longest prompt plus answer, in tokens."),
    _spec("max_num_seqs", "integer", "Answers that are decoded at once."),
    _spec("max_queue", "integer", "Requests that may wait beyond those; more are refused with 503."),
    _spec("gpu_memory_utilization", "number", "Share of the GPU's memory that vLLM may take, above 0 and up to 1."),
    _spec("kv_cache_memory", "size", "Memory of the KV cache in bytes, such as 512MiB or 4GiB."),
    _spec("kv_cache_dtype", "text", "Number format of the KV cache, such as fp8."),
    _spec("enable_prefix_caching", "switch", "Keep the KV cache of shared prompt beginnings."),
    _spec(
        "tensor_parallel_size", "integer", "GPUs that share each layer; by default from the visible GPUs and the heads."
    ),
    _spec("pipeline_parallel_size", "integer", "Groups of GPUs that take the layers in turn."),
    _spec("distributed_executor", "text", "How vLLM starts its workers.", "mp", "ray"),
    _spec("speculative_model", "text", "A smaller model that drafts tokens for this one (vLLM)."),
    _spec("enforce_eager", "switch", "Do not capture CUDA graphs: a faster start, slower decoding."),
    _spec("seed", "integer", "Seed of the engine; a request's own seed wins."),
    _spec("trust_remote_code", "switch", "Allow pickled weights and Python code that come with the model."),
    _spec("chat_template", "text", "A Jinja chat template that replaces the tokenizer's."),
    _spec("adapters", "list", "LoRA adapters as SOURCE[@REVISION][:NAME], separated by commas."),
    _spec("max_adapters", "integer", "Adapters resident at once."),
    _spec("max_lora_rank", "integer", "Highest LoRA rank that may be mounted."),
    _spec("sampling", "mapping", 'Sampling defaults of requests as a JSON object, such as {"temperature": 0.2}.'),
    _spec("engine_args", "mapping", "The engine's own options by its own names, as a JSON object."),
)


def _setting(default: Any, kind: str, meaning: str, *choices: str, name: str = "", secret: bool = False) -> Any:
    metadata = {"kind": kind, "meaning": meaning, "choices": choices, "name": name, "secret": secret}
    return attrs.field(default=default, metadata=metadata, repr=not secret)


@attrs.frozen(kw_only=True)
class Settings:
    """How one server process behaves; what the model is stands in LLMSpec. Sizes in bytes, times in seconds."""

    host: str = _setting("127.0.0.1", "text", "Address the API listens on; 0.0.0.0 for every interface.")
    port: int = _setting(3000, "integer", "TCP port of the API.")
    api_workers: int = _setting(1, "integer", "Processes that speak HTTP in front of one engine.")
    api_key: str | None = _setting(None, "text", "Key that every request must send as a bearer token.", secret=True)
    admin_key: str | None = _setting(None, "text", "Key for mounting and removing adapters.", secret=True)
    max_body_bytes: int = _setting(32 * 1024**2, "size", "Largest request body.")
    max_header_bytes: int = _setting(64 * 1024, "size", "Largest sum of a request's headers.")
    max_json_depth: int = _setting(64, "integer", "Deepest nesting of a JSON body.")
    max_n: int = _setting(128, "integer", "Most choices of one request.")
    max_stop: int = _setting(16, "integer", "Most stop strings of one request.")
    max_logprobs: int = _setting(20, "integer", "Most alternatives per token in logprobs.")
    max_prompts: int = _setting(1024, "integer", "Most prompts or embedding inputs of one request.")
    max_requests_per_key: int = _setting(0, "integer", "Requests one key may have in flight before 429; 0: no limit.")
    max_queued_tokens: int = _setting(0, "integer", "Prompt tokens that may wait before 503; 0: no limit.")
    trust_request_chat_template: bool = _setting(
        False, "switch", "Accept a chat template or its arguments in a request."
    )
    template_seconds: float = _setting(2.0, "number", "Longest time that rendering a chat template may take.")
    allow_image_urls: bool = _setting(False, "switch", "Fetch images that requests name by URL.")
    adapter_root: Path | None = _setting(  # noqa: RUF009  a field descriptor, not a shared default
        None, "path", "Directory below which adapters may be mounted while serving."
    )
    drain_seconds: float = _setting(30.0, "number", "How long running answers may finish after SIGTERM.")
    request_seconds: float = _setting(0.0, "number", "Longest time of one generation; 0: no limit.")
    cors_origins: tuple[str, ...] = _setting((), "list", "Origins that browsers may call from, separated by commas.")
    ui: bool = _setting(True, "switch", "Serve the chat page at /.")
    log_level: str = _setting("info", "text", "Least severity that is logged.", "debug", "info", "warning", "error")
    access_log: bool = _setting(False, "switch", "Log a line per request.")
    bentoml_home: Path = _setting(  # noqa: RUF009  a field descriptor, not a shared default
        Path("~/bentoml"), "path", "Where BentoML keeps its stores.", name="BENTOML_HOME"
    )
    hub_offline: bool = _setting(False, "switch", "Never ask the Hugging Face Hub.", name="HF_HUB_OFFLINE")
    visible_devices: str | None = _setting(
        None, "verbatim", "GPUs this process may see; empty: none.", name="CUDA_VISIBLE_DEVICES"
    )

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "bentoml_home", self.bentoml_home.expanduser())
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port must be from 0 to 65535, got {self.port}.", param="port")
        for field in ("api_workers", "max_body_bytes", "max_header_bytes", "max_json_depth", "max_n", "max_prompts"):
            if getattr(self, field) < 1:
                raise ConfigurationError(f"{field} must be at least 1, got {getattr(self, field)}.", param=field)
        for field, value in attrs.asdict(self).items():
            if isinstance(value, int | float) and value < 0:
                raise ConfigurationError(f"{field} must not be negative, got {value}.", param=field)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Defaults overridden by `environ` (default: this process's). An empty variable counts as unset.

        Errors: ConfigurationError that names the variable. OPENLLM_* names nobody knows are logged as warnings.
        """
        environ = os.environ if environ is None else environ
        for line in unknown_variables(environ):
            logging.getLogger(__name__).warning(line)
        return cls(**_read(setting_variables(), environ))

    def to_env(self) -> dict[str, str]:
        """The variables that make `from_env` give this value again: what differs from the defaults."""
        return {
            row.name: _written(value)
            for row in setting_variables()
            if (value := getattr(self, row.field)) != getattr(_DEFAULTS, row.field) and value is not None
        }


_DEFAULTS = Settings()


def setting_variables() -> tuple[Variable, ...]:
    """One row per Settings field."""
    return tuple(
        Variable(
            name=field.metadata["name"] or PREFIX + field.name.upper(),
            field=field.name,
            kind=field.metadata["kind"],
            meaning=field.metadata["meaning"],
            default=field.default,
            secret=field.metadata["secret"],
            choices=field.metadata["choices"],
        )
        for field in attrs.fields(Settings)
    )


def variables() -> tuple[Variable, ...]:
    """The whole table: spec fields first, then settings."""
    return (*SPEC_VARIABLES, *setting_variables())


def spec_layer(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The LLMSpec fields that OPENLLM_<FIELD> variables set: a layer for `resolve_spec`. Errors: ConfigurationError."""
    return _read(SPEC_VARIABLES, os.environ if environ is None else environ)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """One warning line per OPENLLM_* variable that is in no table, naming the nearest known one."""
    import difflib  # costs 5 ms at start, needed here only

    environ = os.environ if environ is None else environ
    known = [row.name.removeprefix(PREFIX) for row in variables() if row.name.startswith(PREFIX)]
    lines = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1)
            lines.append(f"Unknown variable {name}." + (f" Did you mean {PREFIX}{near[0]}?" if near else ""))
    return lines


def foreign_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without OPENLLM_* variables: what a child gets beside `Settings.to_env()` and its own spec."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}


def _read(rows: tuple[Variable, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    found = {row: environ[row.name] for row in rows if row.name in environ}
    return {
        row.field: row.read(text) for row, text in found.items() if text.strip() or row.secret or row.kind == "verbatim"
    }


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
