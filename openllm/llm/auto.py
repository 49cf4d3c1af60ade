"""Auto classes and per-family classes: names people know, derived from `LLM` and the registries of
families and backends, none written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from openllm import models
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.discovery import near
from openllm.errors import ConfigurationError, UnsupportedCombination, WeightsError
from openllm.facts import Facts, all_facts, canonical_name, facts_of, is_ours
from openllm.llm.llm import LLM
from openllm.llm.resolve import ModelId, spec_for
from openllm.models.base import LLMConfig
from openllm.weights.checkpoint import architecture
from openllm.weights.resolve import can_be_fetched, resolve_weights, weights_present


class FamilyLLM(LLM):
    """An `LLM` whose family and backend are part of its type."""

    family: ClassVar[type[LLMConfig]]
    backend_name: ClassVar[str]

    @classmethod
    def _spec_of(
        cls, model: ModelId | LLMSpec | None, options: Mapping[str, Any], settings: Settings
    ) -> LLMSpec:
        """What the constructor was given, as a spec of this family on this backend."""
        if isinstance(model, LLMSpec):
            return spec_for(model, options, settings)
        if model is not None and options.get("model_id") is not None:
            raise ConfigurationError(
                f"{cls.__name__} was given two models, {model!r} and {options['model_id']!r}.",
                hint="Name one.",
                param="model_id",
            )
        if model is not None:
            options = {**options, "model_id": model}
        decided = _decided(cls.__name__, options, backend=cls.backend_name, family=cls.family.name)
        return spec_for(cls.family.name, decided, settings)

    @classmethod
    def _check_weights(cls, spec: LLMSpec, weights_dir: Path) -> None:
        """Errors: WeightsError where the directory holds another family's model."""
        found = architecture(weights_dir)
        other = models.find(found) if found and found not in cls.family.architectures else None
        if other is not None:
            raise WeightsError(
                f"{spec.model_id} holds a {other.title} model ({found}), and {cls.__name__} is for"
                f" {cls.family.title}.",
                hint=f"Take the {other.name} family's class, or openllm.LLM.",
            )

    @classmethod
    def from_pretrained(cls, model_id: ModelId | None = None, **options: Any) -> Self:
        """The model in a directory, on the Hub or in the store; None: the family's default. Loads
        nothing yet.
        """
        return cls(model_id, **options)


def _decided(name: str, options: Mapping[str, Any], **decided: str) -> dict[str, Any]:
    """`options` with what the class `name` stands for. Errors: UnsupportedCombination where they
    say otherwise.
    """
    said = {**options, "backend": _canonical(options.get("backend"))}
    for key, value in decided.items():
        if said.get(key) not in (None, value):
            raise UnsupportedCombination(
                f"{name} is for {key}={value!r}, and {key}={options[key]!r} was given.",
                hint=f"Drop {key}, or take openllm.LLM.",
                param=key,
            )
    return {**options, **decided}


def _canonical(backend: Any) -> Any:
    return canonical_name(backend) if isinstance(backend, str) else backend


class AutoClass:
    """Base of the Auto classes, one backend's door each: `for_model` picks the class by the
    family's name.
    """

    backend_name: ClassVar[str]

    def __init__(self, family: str = "...", *_: Any, **__: Any) -> None:
        name, said = type(self).__name__, "..." if family == "..." else repr(family)
        raise TypeError(f"{name} is not made; call {name}.for_model({said}).")

    @classmethod
    def for_model(
        cls,
        family: str,
        model_id: ModelId | None = None,
        *,
        ensure_available: bool | None = None,
        **options: Any,
    ) -> FamilyLLM:
        """An LLM of that family on this backend; `options` are those of `LLM`.

        `ensure_available`: True fetches the weights now if this machine lacks them; False raises
        WeightsError then; None leaves it to the first use. Errors: UnknownFamily with near misses,
        UnsupportedCombination.
        """
        llm = family_class(models.get(family), cls.backend_name)(model_id, **options)
        if ensure_available is not None and not weights_present(
            llm.spec, llm.settings.bentoml_home
        ):
            if not ensure_available and can_be_fetched(llm.spec):
                raise WeightsError(
                    f"The weights of {llm.spec.model_id} are not on this machine.",
                    hint="Pass ensure_available=True to fetch them.",
                )
            # says what is wrong with what cannot be fetched
            resolve_weights(llm.spec, llm.settings.bentoml_home, options.get("token"))
        return llm

    @classmethod
    def from_pretrained(cls, model_id: ModelId, **options: Any) -> LLM:
        """An LLM for any model id or directory on this backend, of its family's class where the
        family can be told.

        Errors: UnsupportedCombination when that family does not run on this backend.
        """
        said = _decided(cls.__name__, options, backend=cls.backend_name)
        token = said.pop("token", None)
        settings = Settings.from_env()
        spec = spec_for(model_id, said, settings)
        kind = LLM
        if spec.family is not None:
            kind = family_class(models.get(spec.family), cls.backend_name)
        return kind(spec, token=token, settings=settings)


class _Mapping(Mapping[type[LLMConfig], type[FamilyLLM]]):
    """LLMConfig class -> LLM class, for one backend; made when looked at."""

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def __getitem__(self, family: type[LLMConfig]) -> type[FamilyLLM]:
        if family not in list(self):
            raise KeyError(family)
        return family_class(family, self._backend)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __iter__(self) -> Iterator[type[LLMConfig]]:
        return (family for family in models.all_families() if family.runs_on(self._backend))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _named_in_python() -> list[Facts]:
    """The backends that have classes."""
    return [facts for facts in all_facts() if facts.class_prefix is not None]


@cache
def auto_classes() -> Mapping[str, type[AutoClass]]:
    """Every Auto class by its name; of two of one name, openllm's own."""
    named = sorted(_named_in_python(), key=lambda facts: not is_ours(facts.name))
    found: dict[str, type[AutoClass]] = {}
    for facts in named:
        found.setdefault(str(facts.auto_class), _auto_class(facts))
    return MappingProxyType(found)


def _auto_class(facts: Facts) -> type[AutoClass]:
    members = {
        "backend_name": facts.name,
        "_model_mapping": _Mapping(facts.name),
        "__doc__": f"LLMs on {facts.title}.",
        "__module__": __name__,
    }
    return type(str(facts.auto_class), (AutoClass,), members)


def family_class(family: type[LLMConfig], backend: str) -> type[FamilyLLM]:
    """The one class for a family on a backend. Errors: UnsupportedCombination, naming the backends
    that go.
    """
    family.require_backend(backend)
    return _make_class(family.name, backend)


@cache
def _make_class(family_name: str, backend: str) -> type[FamilyLLM]:
    family = models.get(family_name)
    name = class_name(family, backend)
    doc = f"{family.title} on {backend}: an `openllm.LLM` with both decided."
    members = {"family": family, "backend_name": backend, "__doc__": doc, "__module__": __name__}
    return type(name, (FamilyLLM,), members)


def class_name(family: type[LLMConfig], backend: str) -> str:
    """The backend's prefix and the family's name: Llama, VLLMLlama, TFLlama, FlaxLlama."""
    return f"{facts_of(backend).class_prefix or ''}{family.__name__.removesuffix('Config')}"


@cache
def class_names() -> Mapping[str, tuple[type[LLMConfig], str]]:
    """Every generated class's name, with what it stands for; of two of one name, openllm's own."""
    pairs = [
        (family, facts.name)
        for facts in _named_in_python()
        for family in models.all_families()
        if family.runs_on(facts.name)
    ]
    found: dict[str, tuple[type[LLMConfig], str]] = {}
    for family, backend in sorted(pairs, key=lambda pair: not _both_ours(*pair)):
        found.setdefault(class_name(family, backend), (family, backend))
    return MappingProxyType(found)


def _both_ours(family: type[LLMConfig], backend: str) -> bool:
    return models.is_ours(family.name) and is_ours(backend)


def __getattr__(name: str) -> type[FamilyLLM] | type[AutoClass] | type[LLMConfig]:
    if name in auto_classes():
        return auto_classes()[name]
    if name.endswith("Config"):
        for family in models.all_families():
            if family.__name__ == name:
                return family
    found = class_names().get(name)
    if found is None:
        raise AttributeError(
            f"module 'openllm' has no attribute {name!r}{_why_not(name)}", name=name
        )
    return family_class(*found)


def _why_not(name: str) -> str:
    """What to say of a name that no class has: the backends of its family, or the nearest names."""
    for family in models.all_families():
        for facts in _named_in_python():
            if name == class_name(family, facts.name):
                return (
                    f": {family.title} does not run on {facts.name}, only on"
                    f" {', '.join(family.all_backends())}"
                )
    found = near(name, class_names())
    return f"; did you mean {' or '.join(found)}?" if found else ""
