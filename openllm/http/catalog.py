"""Which model a request means: names of base models and of their adapters, looked up as they are
now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

import openllm
from openllm.discovery import did_you_mean
from openllm.errors import (
    ConfigurationError,
    EngineDead,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    UnsupportedFeature,
)
from openllm.http.keys.caller import calling
from openllm.llm.tasks import WORK, require

if TYPE_CHECKING:
    from openllm.llm.llm import LLM


@attrs.frozen
class Target:
    """What a model name stands for."""

    name: str
    llm: LLM
    adapter: str | None = None
    fingerprint: str = (
        ""  # changes when the same request with the same seed may be answered otherwise
    )


class Catalog:
    """The models of one server. Errors: ConfigurationError for none, or two of one name."""

    def __init__(self, llms: Sequence[LLM], *, any_model: bool = False) -> None:
        """`any_model`: a name that is not here stands for the first model."""
        if not llms:
            raise ConfigurationError("There is no model to serve.", hint="Name at least one.")
        self.llms = tuple(llms)
        self._any_model = any_model
        names = [name for llm in llms for name in llm.spec.served_names]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigurationError(
                f"Two models are called {min(twice)!r}.",
                hint="Give one of them another name.",
                param="name",
            )

        self._fingerprints = {llm.name: _fingerprint(llm) for llm in llms}
        self._bases = {
            name: Target(name, llm, None, self._fingerprints[llm.name])
            for llm in llms
            for name in llm.spec.served_names
        }

    def targets(self) -> Iterator[Target]:
        """Every name that the request which is being answered may use: each base model, its other
        names, its adapters.
        """
        caller = calling.get()
        return (target for target in self._every() if caller.may_use(target.name))

    def _every(self) -> Iterator[Target]:
        for llm in self.llms:
            yield from (self._bases[name] for name in llm.spec.served_names)
            for adapter in llm.adapters:
                yield Target(adapter, llm, adapter, self._fingerprints[llm.name])

    def _named(self, name: str | None) -> Target | None:
        """That one of `targets` which has exactly this name."""
        if not name or not calling.get().may_use(name):
            return None
        if (base := self._bases.get(name)) is not None:
            return base
        llm = next((llm for llm in self.llms if name in llm.adapters), None)
        return None if llm is None else Target(name, llm, name, self._fingerprints[llm.name])

    @property
    def first(self) -> Target:
        """The first of `targets`. Errors: Forbidden where the caller's key is for none."""
        return self._allowed()[0]

    def _allowed(self) -> list[Target]:
        """All of `targets`. Errors: Forbidden where there is none."""
        targets = list(self.targets())
        if not targets:
            raise Forbidden(
                "This key is for no model that is served here.",
                hint="Ask the operator for another one, or for other models of this one.",
            )
        return targets

    def find(self, name: str | None) -> Target:
        """What `name` stands for; None or "" is fine while there is only one base model. A model
        that the caller's key is not for does not exist for it. Errors: ModelNotFound, Forbidden.
        """
        if (target := self._named(name)) is not None:
            return target
        targets = self._allowed()
        if not name:
            bases = {target.llm.name: None for target in targets}
            if len(bases) > 1:
                raise InvalidRequest(
                    "model is required.", hint=f"Known are {', '.join(bases)}.", param="model"
                )
            return targets[0]
        names = [target.name for target in targets]
        others = f"Did you mean {' or '.join(names[:4])}?"
        raise ModelNotFound(
            f"The model {name[:128]!r} does not exist.",
            hint=did_you_mean(name, names) or others,
            param="model",
        )

    def _standing_in(self, name: str | None, task: str) -> Target | None:
        """What answers for a name that is not here, where anything goes: a model made for the
        work, if there is one.
        """
        if not self._any_model or self._named(name) is not None:
            return None
        targets = self._allowed()
        tasks = WORK.get(task, ())[:1]
        return next((target for target in targets if target.llm.spec.task in tasks), targets[0])

    def running(self, name: str | None, task: str) -> Target:
        """`find`, for work of one kind: "generate", "embed", "score", "classify", or "any". Errors:
        also UnsupportedFeature for a model that does other work, Overloaded, EngineDead.
        """
        target = self._standing_in(name, task) or self.find(name)
        llm = target.llm
        if llm.failure:
            raise EngineDead(f"The engine of {llm.name} has stopped.", hint="It will be restarted.")
        if not llm.started:
            raise Overloaded(
                f"{llm.name} is still loading.", hint="Try again in a moment.", retry_after=5
            )
        if task in WORK:
            require(llm.spec, task)
        if task == "embed" and target.adapter is not None:
            raise UnsupportedFeature(
                f"An adapter, {target.name}, cannot embed.", hint=f"Use {llm.name}.", param="model"
            )
        return target


def _fingerprint(llm: LLM) -> str:
    text = f"{openllm.__version__} {llm.spec.to_json()}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]
