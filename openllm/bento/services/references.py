"""A model that may not be in the store yet: what `bentoml build` packs when a spec names a
directory or a Hub id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import bentoml
from bentoml.models import BentoModel

from openllm.bento.pack.sources import inside_sources, store_source
from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.weights.resolve import resolve_weights

# The base of BentoML's model references has no public name.
Reference: type[Any] = BentoModel.__mro__[1]


def reference_to(source: str, spec: LLMSpec, settings: Settings) -> Any:
    """BentoML's reference to one source of `spec`: by tag, or stored once somebody asks for it."""
    return BentoModel(source) if is_tag(source) else SourceModel(source, spec, settings)


def carry_sources(service: bentoml.Service, specs: Sequence[LLMSpec], settings: Settings) -> None:
    """Let a Bento of `service` carry what `specs` name, but for what stays on the Hub."""
    service.sources = tuple(
        (source, reference_to(source, spec, settings))
        for spec in specs
        for source in inside_sources(spec)
    )
    service.models = [reference for _, reference in service.sources]


def find_source(service: bentoml.Service, source: str) -> Path | None:
    """The directory of a source that the Bento, or the store, has; None leaves it to
    `openllm.weights.resolve`.
    """
    references = dict(service.sources)
    inside = service.bento.info.services if service.bento else ()
    kept = next((info.models for info in inside if info.name == service.name), None)
    if kept is not None:
        references = {
            name: BentoModel(info.tag)
            for (name, _), info in zip(service.sources, kept, strict=True)
        }
    reference = references.get(source) or (BentoModel(source) if is_tag(source) else None)
    return Path(reference.resolve().path) if isinstance(reference, BentoModel) else None


@attrs.frozen
class SourceModel(Reference):  # type: ignore[misc]  # bentoml has no types
    """The source `source` of `spec`, brought into the store when a Bento is built."""

    source: str
    spec: LLMSpec
    settings: Settings

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
        if self.source != self.spec.model_id:
            return None
        return resolve_weights(self.spec, self.settings.bentoml_home)

    def _stored(self) -> BentoModel:
        return BentoModel(store_source(self.source, self.spec, self.settings))
