"""LLMConfig: what is known of a model family, as a class of constants that checks itself when it is
defined.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from openllm.discovery import did_you_mean, variants
from openllm.errors import ConfigurationError, UnsupportedCombination

# Spelled out so that reading the registry loads neither attrs nor msgspec; tests compare them with
# spec and types.
TASKS = ("generate", "embed", "classify")
SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("max_tokens", "min_tokens", "stop", "stop_token_ids", "thinking_budget"),
)


class LLMConfig:
    """Base of the families. A subclass sets constants only; a wrong one raises ConfigurationError
    at import.

    `patterns` are shell globs over the lower-cased Hub id. A family that is `by_id_only` shares an
    architecture with another and is never found through it.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""  # how people write the name
    aliases: ClassVar[tuple[str, ...]] = ()
    architectures: ClassVar[tuple[str, ...]] = ()  # as in config.json, the default id's first
    by_id_only: ClassVar[bool] = False
    model_ids: ClassVar[tuple[str, ...]] = ()  # Hub ids that are known to belong here
    patterns: ClassVar[tuple[str, ...]] = ()
    default_id: ClassVar[str | None] = None  # one of model_ids: what `openllm start NAME` loads
    task: ClassVar[str] = "generate"
    sampling: ClassVar[
        Mapping[str, Any]
    ] = {}  # the vendor's, from the default id's generation_config.json
    lora_targets: ClassVar[tuple[str, ...]] = ()  # linear layers that an adapter usually changes
    # how the model writes calls of tools and marks its thoughts, where its chat template does not
    # show it: modules of openllm.answer.tools and reasoning
    tool_format: ClassVar[str | None] = None
    reasoning_format: ClassVar[str | None] = None
    backends: ClassVar[tuple[str, ...]] = (
        "vllm",
        "pytorch",
    )  # engines it goes together with, beside those that name it themselves
    requirements: ClassVar[tuple[str, ...]] = ()  # distributions needed beyond the backend's
    license: ClassVar[str] = ""  # SPDX name, or the vendor's own, of the default id

    def __init_subclass__(cls) -> None:
        for key, value in vars(cls).items():
            if key.startswith("_"):
                continue
            if key not in _CHECKS:
                _fail(cls, f"sets {key!r}, which no family has", near=key)
            if not _CHECKS[key](value):
                _fail(cls, f"has a wrong {key}: {value!r}")
        if not cls.name:
            _fail(cls, "has no name")
        if cls.default_id is not None and cls.default_id not in cls.model_ids:
            _fail(cls, f"has a default_id that is not in its model_ids: {cls.default_id!r}")
        cls.sampling = MappingProxyType(dict(cls.sampling))
        cls.backends = tuple(_backend(word) for word in cls.backends)

    @classmethod
    def matches(cls, model_id: str) -> bool:
        """Whether one of the patterns fits the Hub id."""
        return any(fnmatch.fnmatchcase(model_id.lower(), pattern) for pattern in cls.patterns)

    @classmethod
    def all_backends(cls) -> tuple[str, ...]:
        """The engines it goes together with: those it names, then those that name it."""
        from openllm.facts import all_facts

        others = [facts.name for facts in all_facts() if cls.name in facts.families]
        return (*cls.backends, *(name for name in others if name not in cls.backends))

    @classmethod
    def runs_on(cls, backend: str) -> bool:
        """Whether the family or the backend called so says that the two go together."""
        from openllm.facts import facts_of

        return backend in cls.backends or facts_of(backend).serves(cls.name)

    @classmethod
    def require_backend(cls, backend: str) -> None:
        """Errors: UnsupportedCombination that names the backends which do go together with this
        family.
        """
        if not cls.runs_on(backend):
            can = ", ".join(cls.all_backends())
            raise UnsupportedCombination(
                f"{cls.title or cls.name} does not run on {backend}.", hint=f"Choose {can}."
            )

    @classmethod
    def spec_layer(cls) -> dict[str, Any]:
        """The family's part of an LLMSpec: the weakest layer of `resolve_spec`."""
        layer: dict[str, Any] = {"family": cls.name, "task": cls.task}
        return layer if cls.default_id is None else {"model_id": cls.default_id, **layer}


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and all(_text(item) for item in value)
        and len(set(value)) == len(value)
    )


def _backend(word: str) -> str:
    """The name of the backend that `word` spells; what spells none stays as it is."""
    if word in variants("openllm.backends"):
        return word
    from openllm.facts import canonical_name  # loads attrs; hardly any family spells it otherwise

    return canonical_name(word)


def _name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_]*", value) is not None


def _optional(value: object) -> bool:
    return value is None or _text(value)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "name": _name,
    "title": _text,
    "aliases": _texts,
    "architectures": _texts,
    "by_id_only": lambda value: isinstance(value, bool),
    "model_ids": _texts,
    "patterns": lambda value: _texts(value) and all(item == item.lower() for item in value),
    "default_id": _optional,
    "task": lambda value: value in TASKS,
    "sampling": lambda value: isinstance(value, Mapping) and set(value) <= set(SAMPLING),
    "lora_targets": _texts,
    "tool_format": lambda value: value is None or value in variants("openllm.tools"),
    "reasoning_format": lambda value: value is None or value in variants("openllm.reasoning"),
    "backends": lambda value: (
        _texts(value) and set(map(_backend, value)) <= set(variants("openllm.backends"))
    ),
    "requirements": _texts,
    "license": _text,
}


def _fail(cls: type[LLMConfig], what: str, near: str = "") -> None:
    raise ConfigurationError(f"{cls.__name__} {what}.", hint=did_you_mean(near, _CHECKS, 1))
