"""What a spec needs from the disk: brought into the model store for a Bento, found again where it is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from openllm import models
from openllm.backends.select import select_backend
from openllm.bento.store import Stored, find_model, is_tag, store_directory
from openllm.errors import BuildError
from openllm.lora import check_adapter, resolve_adapter
from openllm.spec import AdapterSpec, LLMSpec
from openllm.weights import content_digest, read_config, resolve_weights


@attrs.frozen
class Packed:
    """A spec that names store tags only, and what was stored for it: the weights first."""

    spec: LLMSpec
    stored: tuple[Stored, ...]


def pack_spec(spec: LLMSpec) -> Packed:
    """Store everything `spec` names, and settle what was left open: backend, family and the name requests use.

    Errors: WeightsError, BuildError, ConfigurationError, MissingDependency.
    """
    backend, _ = select_backend(spec)
    weights_dir = local_weights(spec)
    weights = _store_weights(spec, weights_dir)
    draft = _store_draft(spec)
    adapters = tuple(_store_adapter(adapter, spec, weights_dir) for adapter in spec.adapters)
    packed = attrs.evolve(
        spec,
        model_id=weights.tag,
        name=spec.served_name if not (is_tag(spec.model_id) and spec.name is None) else spec.model_id.partition(":")[0],
        revision=None,
        backend=spec.backend or backend.name,
        family=spec.family or _family(spec, weights_dir),
        speculative_model=draft.tag if draft else spec.speculative_model,
        adapters=tuple(AdapterSpec(item.name, kept.tag) for item, kept in zip(spec.adapters, adapters, strict=True)),
    )
    return Packed(packed, (weights, *([draft] if draft else []), *adapters))


def local_weights(spec: LLMSpec) -> Path:
    """The directory of `spec`'s weights on this machine; a Hub id may be downloaded. Errors: WeightsError."""
    if is_tag(spec.model_id):
        return _stored_path(spec.model_id)
    return resolve_weights(spec)


def check_sources(spec: LLMSpec) -> None:
    """Everything `spec` names is here (or gets fetched) and is safe to load. Errors: WeightsError, BuildError."""
    weights_dir = local_weights(spec)
    for adapter in spec.adapters:
        check_adapter(_adapter_dir(adapter), weights_dir)


def local_source_paths(specs: Sequence[LLMSpec]) -> tuple[Path, ...]:
    """The directories of this machine that `specs` name; a Bento must not mention them."""
    sources = {source for spec in specs for source in sources_of(spec)}
    return tuple(path.absolute() for source in sorted(sources) if (path := Path(source).expanduser()).is_dir())


def sources_of(spec: LLMSpec) -> tuple[str, ...]:
    """What `spec` names on disk, store or Hub: weights, draft model, adapters; each once."""
    named = [spec.model_id, spec.speculative_model, *(adapter.source for adapter in spec.adapters)]
    return tuple(dict.fromkeys(source for source in named if source))


def store_source(source: str, spec: LLMSpec) -> str:
    """Store the one source of `spec` that is called `source`; its tag. Errors: those of `pack_spec`."""
    if is_tag(source):
        return source
    if source == spec.model_id:
        return _store_weights(spec, resolve_weights(spec)).tag
    for adapter in spec.adapters:
        if adapter.source == source:
            return _store_adapter(adapter, spec, local_weights(spec)).tag
    return _store_weights(LLMSpec(model_id=source), resolve_weights(LLMSpec(model_id=source))).tag


def localise(spec: LLMSpec, find: Callable[[str], Path | None]) -> tuple[LLMSpec, Path | None]:
    """`spec` with store tags turned into directories by `find`, and where its weights are; None: not stored."""
    paths: Mapping[str, Path] = {source: path for source in sources_of(spec) if (path := find(source)) is not None}

    def local(source: str) -> str:
        return str(paths[source]) if source in paths else source

    adapters = tuple(attrs.evolve(adapter, source=local(adapter.source)) for adapter in spec.adapters)
    draft = local(spec.speculative_model) if spec.speculative_model else None
    return attrs.evolve(spec, adapters=adapters, speculative_model=draft), paths.get(spec.model_id)


def _store_weights(spec: LLMSpec, directory: Path) -> Stored:
    if is_tag(spec.model_id):
        return Stored(spec.model_id, directory)
    name = attrs.evolve(spec, name=None).served_name
    return store_directory(directory, name, content_digest(directory), _origin(spec.model_id, spec.revision))


def _store_draft(spec: LLMSpec) -> Stored | None:
    if spec.speculative_model is None:
        return None
    draft = LLMSpec(model_id=spec.speculative_model, trust_remote_code=spec.trust_remote_code)
    return _store_weights(draft, local_weights(draft))


def _store_adapter(adapter: AdapterSpec, spec: LLMSpec, weights_dir: Path) -> Stored:
    directory = _adapter_dir(adapter)
    check_adapter(directory, weights_dir)
    if is_tag(adapter.source):
        return Stored(adapter.source, directory)
    return store_directory(
        directory,
        adapter.name,
        content_digest(directory),
        {**_origin(adapter.source, adapter.revision), "kind": "lora"},
    )


def _adapter_dir(adapter: AdapterSpec) -> Path:
    return _stored_path(adapter.source) if is_tag(adapter.source) else resolve_adapter(adapter)


def _origin(source: str, revision: str | None) -> dict[str, str]:
    """Where a model came from, for model.yaml: Hub ids only, paths of this machine say nothing elsewhere."""
    if Path(source).expanduser().exists() or "/" not in source:
        return {}
    return {"hub_id": source, **({"revision": revision} if revision else {})}


def _family(spec: LLMSpec, weights_dir: Path) -> str:
    """The family by the id the model came under: in the Bento only the store tag is left of it."""
    architectures = read_config(weights_dir).get("architectures") or [None]
    return models.resolve(spec.model_id, architectures[0]).name


def _stored_path(tag: str) -> Path:
    path = find_model(tag)
    if path is None:
        raise BuildError(f"{tag} is not in the model store.", hint="`bentoml models list` shows what is.")
    return path
