"""LLMSpec: one deployment as a frozen value, and the one rule of what overrides what."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from openllm.errors import ConfigurationError, UnsupportedCombination

BACKENDS = ("vllm", "pytorch", "tf", "flax", "echo")
TASKS = ("generate", "embed")
# What each backend can quantize to by a short name; vLLM validates its own, longer list.
QUANTIZATIONS: Mapping[str, tuple[str, ...]] = {
    "pytorch": ("int8", "int4", "nf4", "torchao-int8"),
    "tf": (),
    "flax": (),
    "echo": (),
}


@attrs.frozen
class AdapterSpec:
    """One LoRA adapter: the name requests use, and where its files come from (directory, Hub id, store tag)."""

    name: str
    source: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`SOURCE[@REVISION][:NAME]`; the name defaults to the source's last part. Errors: ConfigurationError."""
        source, name = text, ""
        head, colon, tail = text.rpartition(":")
        if colon and tail and not ("/" in tail or "\\" in tail) and len(head) > 1:
            source, name = head, tail
        source, _, revision = source.partition("@") if not source.startswith((".", "/", "~")) else (source, "", "")
        name = name or source.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if not source or not name:
            raise ConfigurationError(f"--adapter-id {text!r} names no adapter.", hint="Write SOURCE or SOURCE:NAME.")
        return cls(name, source, revision or None)


def _positive(spec: LLMSpec, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and value <= 0:
        raise ConfigurationError(f"{attribute.name} must be greater than 0, got {value}.", param=attribute.name)


def _share(spec: LLMSpec, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 < value <= 1:
        raise ConfigurationError(f"{attribute.name} must be in (0, 1], got {value}.", param=attribute.name)


def _adapters(value: Iterable[AdapterSpec | Mapping[str, Any] | str]) -> tuple[AdapterSpec, ...]:
    return tuple(
        item
        if isinstance(item, AdapterSpec)
        else AdapterSpec.parse(item)
        if isinstance(item, str)
        else AdapterSpec(**item)
        for item in value
    )


@attrs.frozen(kw_only=True)
class LLMSpec:
    """One deployment of one model. Plain data: `to_dict` and `from_dict` are inverse, unknown keys are refused.

    `None` means "not said"; the family, the backend or the hardware decides then.
    """

    model_id: str  # a directory, a Hub id, a model-store tag, or "demo"
    family: str | None = None  # a name from openllm.models
    revision: str | None = None  # of a Hub id
    name: str | None = None  # what requests call it; default: derived from model_id
    task: str = "generate"  # or "embed"
    backend: str | None = None  # one of BACKENDS; None: vLLM if usable here, else PyTorch
    device: str | None = None  # "cpu", "cuda", "cuda:1", "mps"
    dtype: str = "auto"
    quantization: str | None = None
    max_model_len: int | None = attrs.field(default=None, validator=_positive)  # tokens
    max_num_seqs: int | None = attrs.field(default=None, validator=_positive)  # choices decoded at once
    max_queue: int = attrs.field(default=1024, validator=_positive)  # requests waiting beyond those
    gpu_memory_utilization: float | None = attrs.field(default=None, validator=_share)
    kv_cache_memory: int | None = attrs.field(default=None, validator=_positive)  # bytes
    kv_cache_dtype: str | None = None
    enable_prefix_caching: bool | None = None
    tensor_parallel_size: int | None = attrs.field(default=None, validator=_positive)
    pipeline_parallel_size: int | None = attrs.field(default=None, validator=_positive)
    distributed_executor: str | None = None  # "mp" or "ray"
    speculative_model: str | None = None
    enforce_eager: bool | None = None
    seed: int | None = None  # of the engine; a request's own seed wins
    trust_remote_code: bool = False
    chat_template: str | None = None  # Jinja text that replaces the tokenizer's
    adapters: tuple[AdapterSpec, ...] = attrs.field(default=(), converter=_adapters)
    max_adapters: int | None = attrs.field(default=None, validator=_positive)  # resident at once
    max_lora_rank: int | None = attrs.field(default=None, validator=_positive)
    sampling: Mapping[str, Any] = attrs.field(factory=dict)  # defaults of requests: SamplingParams' names
    engine_args: Mapping[str, Any] = attrs.field(factory=dict)  # the engine's own options, by its own names

    def __attrs_post_init__(self) -> None:
        if not self.model_id or "\0" in self.model_id:
            raise ConfigurationError("model_id is empty.", hint="Name a directory, a Hub id or a family.")
        _one_of("backend", self.backend, BACKENDS)
        _one_of("task", self.task, TASKS)
        if self.adapters and self.task == "embed":
            raise UnsupportedCombination("An embedding model takes no LoRA adapters.", hint="Drop adapters.")
        names = [adapter.name for adapter in self.adapters]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(f"Two adapters are named {min(twice)!r}.", hint="Write SOURCE:OTHER_NAME.")
        known = QUANTIZATIONS.get(self.backend or "")
        if self.quantization and known is not None and self.quantization not in known:
            can = f"It can do {', '.join(known)}." if known else "It has no quantization."
            raise UnsupportedCombination(f"The {self.backend} backend cannot do {self.quantization!r}. {can}")

    @property
    def served_name(self) -> str:
        """What requests write in `model`: `name`, else the last part of a path, else the id itself."""
        if self.name:
            return self.name
        path = self.model_id.replace("\\", "/")
        local = path.startswith((".", "/", "~")) or path[1:2] == ":"
        return path.rstrip("/").rpartition("/")[2] if local else self.model_id

    def to_dict(self) -> dict[str, Any]:
        """Only what differs from the defaults, as JSON types."""
        fields = attrs.fields_dict(type(self))
        full = attrs.asdict(self, recurse=True)
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in full.items()
            if key == "model_id" or value not in (fields[key].default, (), {})
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Errors: ConfigurationError for unknown keys (with near misses), wrong types and impossible values."""
        check_keys(data)
        if "model_id" not in data:
            raise ConfigurationError("The spec has no model_id.", hint="Name a directory, a Hub id or a family.")
        return cls(**{key: _typed(key, value) for key, value in data.items()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"The spec is not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise ConfigurationError("The spec must be a JSON object.")
        return cls.from_dict(data)


def check_keys(data: Mapping[str, Any]) -> None:
    """Refuse keys that LLMSpec does not have, naming the nearest ones."""
    known = list(attrs.fields_dict(LLMSpec))
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, 2)
            hint = f"Did you mean {' or '.join(near)}?" if near else "See `openllm start --help`."
            raise ConfigurationError(f"Unknown spec key {key!r}.", hint=hint, param=key)


def resolve_spec(*layers: Mapping[str, Any]) -> LLMSpec:
    """One spec from layers, the strongest first: explicit, environment, the Bento's spec, family defaults.

    A key that a layer leaves out or sets to None is taken from the next. Mappings (`sampling`, `engine_args`) merge
    key by key under the same rule. Errors: those of `LLMSpec.from_dict`.
    """
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        check_keys(layer)
        for key, value in layer.items():
            if value is None:
                continue
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return LLMSpec.from_dict(merged)


def _one_of(key: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigurationError(f"{key} {value!r} is not one of {', '.join(allowed)}.", param=key)


_KINDS: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def _typed(key: str, value: Any) -> Any:
    """`value` if its JSON type fits the field's annotation, else ConfigurationError."""
    kind = str(attrs.fields_dict(LLMSpec)[key].type).partition(" |")[0]
    allowed = _KINDS.get(kind, (Mapping, list, tuple))
    wrong_bool = isinstance(value, bool) and kind != "bool"
    optional = "None" in str(attrs.fields_dict(LLMSpec)[key].type)
    if value is None and optional:
        return None
    if wrong_bool or not isinstance(value, allowed):
        raise ConfigurationError(f"{key} must be {_article(kind)}, got {value!r}.", param=key)
    return float(value) if kind == "float" and isinstance(value, int) else value


def _article(kind: str) -> str:
    names = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    return names.get(kind, "a list or mapping")
