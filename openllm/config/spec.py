"""LLMSpec: one deployment as a frozen value, and the one rule of what overrides what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

import attrs

from openllm.config.names import is_path, last_part, split_tag
from openllm.discovery import did_you_mean, variants
from openllm.errors import ConfigurationError, InvalidRequest, UnsupportedCombination, call, option
from openllm.facts import canonical_name, facts_of

TASKS = ("generate", "embed", "classify")
EXECUTORS = ("mp", "ray")
MOST_REPLICAS = 64  # on one machine
ROUTINGS = ("least-loaded", "cache-aware")  # how requests are spread over replicas
UNREAD = "none"  # the reasoning_format of a model whose thoughts are text
# What a chat template is given of every conversation, so that no argument can have the name.
TEMPLATE_RESERVED = frozenset(("messages", "tools", "add_generation_prompt"))
# What says which model it is: no variable and no option can say it for several at once.
IDENTITY = (
    "model_id",
    "family",
    "revision",
    "name",
    "aliases",
    "task",
    "adapters",
    "chat_template",
)


@attrs.frozen
class AdapterSpec:
    """One LoRA adapter: the name requests use, and where its files come from (directory, Hub id,
    store tag).
    """

    name: str
    source: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`SOURCE[@REVISION][:NAME]`; the name defaults to the source's last part. Errors:
        ConfigurationError.
        """
        source, name = text, ""
        head, colon, tail = text.rpartition(":")
        if colon and tail == last_part(tail):
            source, name = head, tail
        source = source.removeprefix("hf://")
        source, _, revision = source.partition("@") if not is_path(source) else (source, "", "")
        name = name or last_part(source)
        if not source or not name:
            raise ConfigurationError(
                f"{option('adapters')} {text!r} names no adapter.",
                hint="Write SOURCE or SOURCE:NAME.",
            )
        return cls(name, source, revision or None)


def _positive(spec: LLMSpec, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and value <= 0:
        raise ConfigurationError(
            f"{attribute.name} must be greater than 0, got {value}.", param=attribute.name
        )


def _share(spec: LLMSpec, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 < value <= 1:
        raise ConfigurationError(
            f"{attribute.name} must be in (0, 1], got {value}.", param=attribute.name
        )


def _replicas(spec: LLMSpec, attribute: attrs.Attribute[Any], value: int) -> None:
    if not 1 <= value <= MOST_REPLICAS:
        raise ConfigurationError(
            f"replicas must be from 1 to {MOST_REPLICAS}, got {value}.", param=attribute.name
        )


def _adapters(value: Any) -> tuple[AdapterSpec, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"adapters must be a list, got {value!r}.", param="adapters")
    return tuple(_adapter(item) for item in value)


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(
        isinstance(name, str) and name.strip() for name in names
    ):
        raise ConfigurationError(
            f"aliases must be a list of names, got {value!r}.", param="aliases"
        )
    return tuple(dict.fromkeys(names))


def _adapter(item: Any) -> AdapterSpec:
    if isinstance(item, AdapterSpec):
        return item
    if isinstance(item, str):
        return AdapterSpec.parse(item)
    known = attrs.fields_dict(AdapterSpec)
    texts = isinstance(item, Mapping) and all(
        key in known
        and ((isinstance(value, str) and value) or (key == "revision" and value is None))
        for key, value in item.items()
    )
    if not texts or not {"name", "source"} <= set(item):
        hint = "Write SOURCE:NAME, or a mapping of name, source and revision."
        raise ConfigurationError(f"An adapter cannot be {item!r}.", hint=hint, param="adapters")
    return AdapterSpec(**item)


def _copy(value: Any) -> Any:
    """A copy, so that nobody else holds it; what is no mapping is left to the type check."""
    return dict(value) if isinstance(value, Mapping) else value


def _backend(value: Any) -> Any:
    """The name behind a spelling; what is no text is left to the type check."""
    return canonical_name(value) if isinstance(value, str) else value


def _real(value: Any) -> Any:
    """A whole number as the float it stands for, so that one value has one JSON text."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}
_SAID = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def _typed(spec: LLMSpec, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The field's annotation decides what fits; a bool is no number. Errors: ConfigurationError."""
    kind, _, rest = str(attribute.type).partition(" |")
    if kind.startswith("Mapping"):
        fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    else:
        false_number = isinstance(value, bool) and kind in {"int", "float"}
        fits = (value is None and bool(rest)) or (
            isinstance(value, _KINDS.get(kind, (object,))) and not false_number
        )
    if not fits:
        said = _SAID.get(kind, "a mapping with text keys")
        raise ConfigurationError(
            f"{attribute.name} must be {said}, got {value!r}.", param=attribute.name
        )


def _check_types(kind: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Put the type check before each field's own."""
    both = attrs.validators.and_
    return [
        field.evolve(validator=both(_typed, field.validator) if field.validator else _typed)
        for field in fields
    ]


@attrs.frozen(kw_only=True, field_transformer=_check_types)
class LLMSpec:
    """One deployment of one model. Plain data: `to_dict` and `from_dict` are inverse, unknown keys
    are refused.

    `None` means "not said"; the family, the backend or the hardware decides then.
    """

    model_id: str  # a directory, a Hub id, a model-store tag, or "demo"
    family: str | None = None  # a name from openllm.models
    # Whether requests get its sampling and formats; None: those of its own models do.
    family_defaults: bool | None = None
    revision: str | None = None  # of a Hub id
    name: str | None = None  # what requests call it; default: derived from model_id
    aliases: tuple[str, ...] = attrs.field(default=(), converter=_names)  # and further names
    task: str = "generate"  # or "embed"
    # A backend's name, or another spelling of it; None: the first that is usable here.
    backend: str | None = attrs.field(default=None, converter=_backend)
    device: str | None = None  # "cpu", "cuda", "cuda:1", "mps"
    dtype: str = "auto"
    quantization: str | None = None
    max_model_len: int | None = attrs.field(default=None, validator=_positive)  # tokens
    max_num_seqs: int | None = attrs.field(
        default=None, validator=_positive
    )  # choices decoded at once
    max_queue: int = attrs.field(default=1024, validator=_positive)  # requests waiting beyond those
    gpu_memory_utilization: float | None = attrs.field(
        default=None, converter=_real, validator=_share
    )
    kv_cache_memory: int | None = attrs.field(default=None, validator=_positive)  # bytes
    kv_cache_dtype: str | None = None
    enable_prefix_caching: bool | None = None
    replicas: int = attrs.field(default=1, validator=_replicas)  # engines that share the requests
    routing: str = ROUTINGS[0]
    tensor_parallel_size: int | None = attrs.field(default=None, validator=_positive)
    pipeline_parallel_size: int | None = attrs.field(default=None, validator=_positive)
    data_parallel_size: int | None = attrs.field(default=None, validator=_positive)
    enable_expert_parallel: bool | None = None
    distributed_executor: str | None = None  # one of EXECUTORS
    speculative_model: str | None = None
    enforce_eager: bool | None = None
    seed: int | None = None  # of the engine; a request's own seed wins
    trust_remote_code: bool = False
    chat_template: str | None = None  # Jinja text that replaces the tokenizer's
    # How answers are read: modules of openllm.answer; None: as the chat template shows it.
    tool_format: str | None = None
    reasoning_format: str | None = None  # or UNREAD
    adapters: tuple[AdapterSpec, ...] = attrs.field(default=(), converter=_adapters)
    max_adapters: int | None = attrs.field(default=None, validator=_positive)  # resident at once
    max_lora_rank: int | None = attrs.field(default=None, validator=_positive)
    # Defaults of requests by SamplingParams' names, and by those of the chat template's arguments;
    # the engine's own options by its own names.
    sampling: Mapping[str, Any] = attrs.field(factory=dict, converter=_copy, hash=False)
    template_kwargs: Mapping[str, Any] = attrs.field(factory=dict, converter=_copy, hash=False)
    engine_args: Mapping[str, Any] = attrs.field(factory=dict, converter=_copy, hash=False)

    def __attrs_post_init__(self) -> None:
        _check_sampling(self.sampling)
        _known_format("tool_format", self.tool_format, "openllm.tools")
        _known_format("reasoning_format", self.reasoning_format, "openllm.reasoning", UNREAD)
        if taken := TEMPLATE_RESERVED & self.template_kwargs.keys():
            raise ConfigurationError(
                f"{option('template_kwargs')}: {min(taken)} is what the server itself gives a chat"
                " template.",
                hint="Leave it out.",
                param="template_kwargs",
            )
        if not self.model_id.strip():
            raise ConfigurationError(
                "model_id is empty.", hint="Name a directory, a Hub id or a family."
            )
        if not self.model_id.isprintable():
            raise ConfigurationError(
                f"model_id {self.model_id!r} holds characters that no name has.", param="model_id"
            )
        facts = facts_of(self.backend) if self.backend is not None else None
        _one_of("task", self.task, TASKS)
        _one_of("routing", self.routing, ROUTINGS)
        _one_of("distributed_executor", self.distributed_executor, EXECUTORS)
        if self.adapters and self.task != "generate":
            kind = "An embedding model" if self.task == "embed" else "A classifier"
            raise UnsupportedCombination(f"{kind} takes no LoRA adapters.", hint="Drop adapters.")
        names = [*self.aliases, *(adapter.name for adapter in self.adapters)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(
                f"Two adapters are named {min(twice)!r}.", hint="Write SOURCE:OTHER_NAME."
            )
        known = facts.quantizations if facts is not None else None
        if self.quantization and known is not None and self.quantization not in known:
            can = f"It can do {', '.join(known)}." if known else "It has no quantization."
            raise UnsupportedCombination(
                f"The {self.backend} backend cannot do {self.quantization!r}. {can}"
            )

    def engines(self) -> tuple[LLMSpec, ...]:
        """What each of the replicas runs: this spec, for one engine."""
        return (attrs.evolve(self, replicas=1),) * self.replicas

    @property
    def served_names(self) -> tuple[str, ...]:
        """All names of the model, `served_name` first."""
        return tuple(dict.fromkeys((self.served_name, *self.aliases)))

    @property
    def served_name(self) -> str:
        """What requests write in `model`: `name`, else the last part of a path, the name of a store
        tag, or the Hub id.
        """
        if self.name:
            return self.name
        if is_path(self.model_id):
            return last_part(self.model_id)
        tag = split_tag(self.model_id)
        return tag[0] if tag else self.model_id

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
        """Errors: ConfigurationError for unknown keys (with near misses), wrong types and
        impossible values.
        """
        check_keys(data)
        if "model_id" not in data:
            raise ConfigurationError(
                "The spec has no model_id.", hint="Name a directory, a Hub id or a family."
            )
        return cls(**data)

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
            hint = did_you_mean(key, known) or f"See {call('LLMSpec')}."
            raise ConfigurationError(f"Unknown spec key {key!r}.", hint=hint, param=key)


def resolve_spec(*layers: Mapping[str, Any]) -> LLMSpec:
    """One spec from layers, the strongest first: explicit, environment, the Bento's spec, family
    defaults.

    A key that a layer leaves out or sets to None is taken from the next. Mappings (`sampling`,
    `template_kwargs`, `engine_args`) merge key by key under the same rule. Errors: those of
    `LLMSpec.from_dict`.
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


def identity_in(layer: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that `layer` says and only one model can have."""
    return tuple(field for field in IDENTITY if layer.get(field) is not None)


def refuse_identity(environment: Mapping[str, Any], models: int) -> None:
    """Errors: ConfigurationError where variables say for several models what only one can have."""
    if models > 1 and (said := identity_in(environment)):
        raise ConfigurationError(
            f"OPENLLM_{said[0].upper()} is set, but this service has {models} models.",
            hint="Unset it, or serve one model.",
            param=said[0],
        )


def _one_of(key: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigurationError(f"{key} {value!r} is not one of {', '.join(allowed)}.", param=key)


def _known_format(key: str, value: str | None, group: str, *others: str) -> None:
    """Refuse what is none of the variants of `group`, nor of `others`."""
    if value is None:
        return
    known = (*variants(group), *others)
    if value not in known:
        raise ConfigurationError(
            f"There is no {option(key, value)}.",
            hint=did_you_mean(value, known) or f"There are {', '.join(known)}.",
            param=key,
        )


def _check_sampling(sampling: Mapping[str, Any]) -> None:
    """Refuse at start the defaults that would fail every request."""
    if sampling:
        from openllm.config.sampling import (
            build_params,
        )  # few specs have any: the others load no msgspec

        try:
            build_params(sampling)
        except InvalidRequest as error:
            raise ConfigurationError(f"sampling: {error.text}", param="sampling") from None
