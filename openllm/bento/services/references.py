"""A model that may not be in the store yet: what `bentoml build` packs when a spec names a
directory or a Hub id.
"""

from __future__ import annotations

from typing import Any, Self

import attrs
from bentoml.models import BentoModel

from openllm.bento.pack.sources import store_source
from openllm.config.spec import LLMSpec
from openllm.weights.resolve import fetch_weights
from openllm.weights.store import is_tag

# The base of BentoML's model references has no public name.
Reference: type[Any] = BentoModel.__mro__[1]


def reference_to(source: str, spec: LLMSpec) -> Any:
    """BentoML's reference to one source of `spec`: by tag, or stored once somebody asks for it."""
    return BentoModel(source) if is_tag(source) else SourceModel(source, spec)


@attrs.frozen
class SourceModel(Reference):  # type: ignore[misc]  # bentoml has no types
    """The source `source` of `spec`, brought into the store when a Bento is built."""

    source: str
    spec: LLMSpec

    def to_info(self, alias: str | None = None) -> Any:
        """Called while a Bento is built: stores the source. Errors: those of `pack_spec`."""
        return self._stored().to_info(alias)

    @classmethod
    def from_info(cls, info: Any) -> Self:
        """Errors: TypeError always; what a Bento holds is a plain `BentoModel`."""
        raise TypeError(f"{info.tag} is in the store already.")

    def to_create_schema(self) -> Any:
        """Called while a model is pushed."""
        return self._stored().to_create_schema()

    def resolve(self, base_path: Any = None) -> Any:
        """Called before a service that is in no Bento is served: only sees to it that the weights
        are here.
        """
        return fetch_weights(self.spec) if self.source == self.spec.model_id else None

    def _stored(self) -> BentoModel:
        return BentoModel(store_source(self.source, self.spec))
