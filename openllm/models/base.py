"""LLMConfig: what is known of a model family, as a class of constants that checks itself when it is
defined.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from openllm.discovery import did_you_mean, variants
from openllm.errors import ConfigurationError, UnsupportedCombination
from openllm.models.shape import KnownShape

# Spelled out so that reading the registry loads neither attrs nor msgspec; tests compare them with
# spec and types.
TASKS = ("generate", "embed", "classify")
_TASK_WORDS = {
    "generate": ("chat",),
    "embed": ("embedding", "embeddings"),
    "classify": ("rerank", "reranker", "classifier"),
}
SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("max_tokens", "min_tokens", "stop", "stop_token_ids", "thinking_budget"),
)


class ModelCard(NamedTuple):
    """One model of a family, as its card and config.json on the Hub say."""

    parameters: float  # all of them: 1.24e9
    context: int  # tokens, as config.json has them; of an encoder, of one text
    active: float | None = None  # parameters that a token passes, where not all do
    license: str = ""  # SPDX name, or the vendor's own; "": the family's


class FamilyMarks(NamedTuple):
    """What a family's own models can be told by: texts that all stand in the chat template, and
    special tokens that the tokenizer all has.
    """

    template: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()

    def fit(self, template: str, tokens: Collection[str]) -> bool:
        """Whether a model with this chat template ("": none) and these special tokens has them."""
        shown = all(text in template for text in self.template)
        return shown and all(token in tokens for token in self.tokens)


class LLMConfig:
    """Base of the families. A subclass sets constants only; a wrong one raises ConfigurationError
    at import.

    `patterns` are shell globs over the lower-cased Hub id. A family that is `by_id_only` shares an
    architecture with another and is never found through it. Another vendor's model may have a
    family's architecture too: `sampling` and the formats are those of the family's own models,
    which are known by their id or by one of the `marks`.
    """

    name: ClassVar[str] = ""  # what options and registries call it
    title: ClassVar[str] = ""  # how people write the name
    aliases: ClassVar[tuple[str, ...]] = ()  # other names that are taken for it
    architectures: ClassVar[tuple[str, ...]] = ()  # as in config.json, the default id's first
    by_id_only: ClassVar[bool] = False  # never found through an architecture
    models: ClassVar[Mapping[str, ModelCard]] = {}  # what is known of each, by Hub id
    shapes: ClassVar[
        Mapping[str, KnownShape]
    ] = {}  # of some of `models`, for plans without a download
    # other words that people look for its models by (vision, code), each with shell globs over the
    # lower-cased Hub ids that it is said of
    topics: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Hub ids that are known to belong here: those of `models`, and others
    model_ids: ClassVar[tuple[str, ...]] = ()
    patterns: ClassVar[tuple[str, ...]] = ()  # shell globs over the lower-cased Hub id
    marks: ClassVar[tuple[FamilyMarks, ...]] = ()  # each alone is enough
    default_id: ClassVar[str | None] = None  # one of model_ids: what `openllm start NAME` loads
    task: ClassVar[str] = "generate"  # or one of the other TASKS
    sampling: ClassVar[
        Mapping[str, Any]
    ] = {}  # the vendor's, from the default id's generation_config.json
    lora_targets: ClassVar[tuple[str, ...]] = ()  # linear layers that an adapter usually changes
    # how the model writes calls of tools, where its chat template does not show it: a module of
    # openllm.answer.tools
    tool_format: ClassVar[str | None] = None
    # how it marks its thoughts, in the same way: a module of openllm.answer.reasoning
    reasoning_format: ClassVar[str | None] = None
    backends: ClassVar[tuple[str, ...]] = (
        "vllm",
        "pytorch",
    )  # engines it goes together with, beside those that name it themselves
    one_at_a_time: ClassVar[tuple[str, ...]] = ()  # those of them that run it unbatched
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
        if twice := set(cls.models) & set(vars(cls).get("model_ids", ())):
            _fail(cls, f"has {min(twice)!r} in its models and in its model_ids")
        if strange := set(cls.shapes) - set(cls.models):
            _fail(cls, f"has a shape of {min(strange)!r}, which is not in its models")
        cls.models = MappingProxyType(dict(cls.models))
        cls.shapes = MappingProxyType(dict(cls.shapes))
        cls.model_ids = (*cls.models, *cls.model_ids)
        if cls.default_id is not None and cls.default_id not in cls.model_ids:
            _fail(cls, f"has a default_id that is not in its model_ids: {cls.default_id!r}")
        cls.sampling = MappingProxyType(dict(cls.sampling))
        cls.backends = tuple(_backend(word) for word in cls.backends)
        cls.one_at_a_time = tuple(_backend(word) for word in cls.one_at_a_time)

    @classmethod
    def matches(cls, model_id: str) -> bool:
        """Whether one of the patterns fits the Hub id."""
        return any(fnmatch.fnmatchcase(model_id.lower(), pattern) for pattern in cls.patterns)

    @classmethod
    def is_shown_by(cls, template: str, tokens: Collection[str]) -> bool:
        """Whether a chat template ("": none) and a tokenizer's special tokens are those of the
        family's own models.
        """
        return any(marks.fit(template, tokens) for marks in cls.marks)

    @classmethod
    def words_of(cls, model_id: str) -> str:
        """All that one of its models can be looked up by, in lower case."""
        topics = [
            topic
            for topic, globs in cls.topics.items()
            if any(fnmatch.fnmatchcase(model_id.lower(), glob) for glob in globs)
        ]
        thinks = ["reasoning"] if cls.reasoning_format else []
        words = [cls.name, cls.title, *cls.aliases, model_id, cls.license_of(model_id)]
        return " ".join([*words, cls.task, *_TASK_WORDS[cls.task], *topics, *thinks]).lower()

    @classmethod
    def cards(cls) -> dict[str, dict[str, Any]]:
        """What is known of its models by Hub id, as JSON types: whole parameters, tokens."""
        return {
            model_id: {
                "parameters": round(card.parameters),
                "active": None if card.active is None else round(card.active),
                "context": card.context,
                "license": cls.license_of(model_id),
            }
            for model_id, card in cls.models.items()
        }

    @classmethod
    def license_of(cls, model_id: str) -> str:
        """The licence of one of the family's models; that of the default one for an unknown id."""
        card = cls.models.get(model_id)
        return (card.license if card else "") or cls.license

    @classmethod
    def batched_on(cls) -> tuple[str, ...]:
        """The engines that run several requests in one forward pass."""
        return tuple(name for name in cls.all_backends() if name not in cls.one_at_a_time)

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


def _backends(value: Any) -> bool:
    return _texts(value) and set(map(_backend, value)) <= set(variants("openllm.backends"))


def _models(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _text(model_id) and isinstance(card, ModelCard) and _card(card)
        for model_id, card in value.items()
    )


def _shapes(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _text(model_id) and isinstance(shape, KnownShape) and min(shape[:6]) >= 1
        for model_id, shape in value.items()
    )


def _card(card: ModelCard) -> bool:
    """At least one parameter and one token; what a token passes is less than all of them."""
    counts = card.parameters >= 1 and isinstance(card.context, int) and card.context >= 1
    fewer = card.active is None or 1 <= card.active < card.parameters
    return counts and fewer and isinstance(card.license, str)


def _marks(value: object) -> bool:
    """Each has a text or a token: one without any would fit every model."""
    return isinstance(value, tuple) and all(
        isinstance(marks, FamilyMarks)
        and (_texts(marks.template) and _texts(marks.tokens))
        and any(marks)
        for marks in value
    )


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
    "models": _models,
    "shapes": _shapes,
    "topics": lambda value: isinstance(value, Mapping) and all(map(_texts, value.values())),
    "model_ids": _texts,
    "patterns": lambda value: _texts(value) and all(item == item.lower() for item in value),
    "marks": _marks,
    "default_id": _optional,
    "task": lambda value: value in TASKS,
    "sampling": lambda value: isinstance(value, Mapping) and set(value) <= set(SAMPLING),
    "lora_targets": _texts,
    "tool_format": lambda value: value is None or value in variants("openllm.tools"),
    "reasoning_format": lambda value: value is None or value in variants("openllm.reasoning"),
    "backends": _backends,
    "one_at_a_time": _backends,
    "requirements": _texts,
    "license": _text,
}


def _fail(cls: type[LLMConfig], what: str, near: str = "") -> None:
    raise ConfigurationError(f"{cls.__name__} {what}.", hint=did_you_mean(near, _CHECKS, 1))
