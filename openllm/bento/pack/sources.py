"""What a spec needs from the disk: brought into the model store for a Bento, found again where it
is served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from openllm import models
from openllm.backends.base import Backend
from openllm.backends.select import select_packed
from openllm.bento.pack.files import explain
from openllm.bento.pack.pinning import Pinned, is_pinned, pin_weights
from openllm.bento.pack.store import Stored, checked_entry, hub_source, store_directory, workshop
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import WeightsError
from openllm.llm.resolve import family_of_id
from openllm.weights.adapters import check_adapter, resolve_adapter
from openllm.weights.archive import extract_archive
from openllm.weights.checkpoint import (
    ADAPTER_CONFIG,
    directory_size,
    file_digest,
    file_digests,
    model_files,
)
from openllm.weights.digests import Digests
from openllm.weights.fetching.blobs import damaged_blobs, named_otherwise, set_aside
from openllm.weights.hub import is_offline
from openllm.weights.origin import Origin, named_directory, origin
from openllm.weights.resolve import architecture, resolve_weights
from openllm.weights.store import (
    StoredModel,
    damaged_files,
    damaged_model,
    find_model,
    is_pulled,
    remember_pulled,
)

logger = logging.getLogger(__name__)

_COMMIT_LENGTH = 40  # hexadecimal digits of a Hub commit, the name of its snapshot directory


@attrs.frozen
class Packed:
    """A spec that names store tags only, and what was stored for it: the weights first."""

    spec: LLMSpec
    stored: tuple[Stored, ...]
    pinned: Pinned | None = None  # the weights, where they stay on the Hub


def pack_spec(spec: LLMSpec, settings: Settings, *, by_reference: bool = False) -> Packed:
    """Store everything `spec` names, and settle what was left open: backend, family and the name
    requests use.

    `by_reference` leaves the weights on the Hub and names their commit; adapters and a draft model
    go in all the same.

    Errors: WeightsError, BuildError, ConfigurationError, MissingDependency.
    """
    backend, home = select_packed(spec, settings), settings.bentoml_home
    pinned = pin_weights(spec) if by_reference else None
    directory = pinned.directory if pinned else resolve_weights(spec, home)
    # all of them before anything is written; what stays on the Hub is not here to be compared with
    _check_adapters(spec, None if pinned else directory, backend, home)
    weights = None if pinned else _store_weights(spec, directory, home)
    draft = None
    if spec.speculative_model:
        draft = _store_weights(_draft(spec), resolve_weights(_draft(spec), home), home)
    adapters = tuple(_store_adapter(adapter, home) for adapter in spec.adapters)
    family = spec.family or models.resolve(spec.model_id, architecture(directory)).name
    packed = attrs.evolve(
        spec,
        model_id=weights.tag if weights else spec.model_id,
        name=spec.served_name,
        revision=pinned.commit if pinned else None,
        backend=spec.backend or backend.facts.name,
        family=family,
        family_defaults=_family_defaults(spec, family, weights, settings),
        speculative_model=draft.tag if draft else None,
        adapters=tuple(
            AdapterSpec(item.name, kept.tag)
            for item, kept in zip(spec.adapters, adapters, strict=True)
        ),
    )
    return Packed(packed, tuple(item for item in (weights, draft, *adapters) if item), pinned)


def _family_defaults(
    spec: LLMSpec, family: str, weights: Stored | None, settings: Settings
) -> bool | None:
    """What the spec says of them; True where its model's id shows the family, and the tag that
    takes its place does not.
    """
    named = family_of_id(spec.model_id, settings)
    if spec.family_defaults is not None or named is None or named.name != family:
        return spec.family_defaults
    return True if weights and models.named(weights.tag) is not named else None


def check_sources(spec: LLMSpec, backend: type[Backend], home: Path) -> Path:
    """Everything `spec` names is here (or gets fetched), is safe to load and can be served by
    `backend`; where the weights are. Errors: WeightsError.
    """
    directory = resolve_weights(spec, home)
    _check_adapters(spec, directory, backend, home)
    if spec.speculative_model:
        resolve_weights(_draft(spec), home)
    return directory


def _check_adapters(spec: LLMSpec, base: Path | None, backend: type[Backend], home: Path) -> None:
    for adapter in spec.adapters:
        path = resolve_adapter(adapter, home)
        check_adapter(
            path,
            base,
            spec.max_lora_rank,
            uniform=backend.facts.uniform_adapters,
            experts=backend.facts.expert_adapters,
        )


def sources_of(spec: LLMSpec) -> tuple[str, ...]:
    """What `spec` names on disk, store or Hub: weights, draft model, adapters; each once."""
    named = [spec.model_id, spec.speculative_model, *(adapter.source for adapter in spec.adapters)]
    return tuple(dict.fromkeys(source for source in named if source))


def inside_sources(spec: LLMSpec) -> tuple[str, ...]:
    """Those of `sources_of` that a Bento carries: without what is named by its commit on the
    Hub.
    """
    pinned = {
        adapter.source for adapter in spec.adapters if is_pinned(adapter.source, adapter.revision)
    }
    if is_pinned(spec.model_id, spec.revision):
        pinned.add(spec.model_id)
    return tuple(source for source in sources_of(spec) if source not in pinned)


def local_source_paths(specs: Sequence[LLMSpec]) -> tuple[Path, ...]:
    """The directories of this machine that `specs` name; a Bento must not mention them."""
    sources = {source for spec in specs for source in sources_of(spec)}
    return tuple(
        path.absolute()
        for source in sorted(sources)
        if (path := named_directory(source)) is not None
    )


def pull_model(spec: LLMSpec, name: str | None, settings: Settings) -> Stored:
    """Bring the weights of `spec` into the store, under `name` or the model's own, and remember
    that they are wanted there. What is damaged there or in the Hub's cache is fetched again.
    Errors: WeightsError, BuildError, ConfigurationError.
    """
    home = settings.bentoml_home
    if origin(spec.model_id) is Origin.STORE:
        stored = _whole_again(find_model(spec.model_id, home), spec, settings)
    else:
        own = name or attrs.evolve(spec, name=None).served_name
        directory, digests = _checked(spec, own, home)
        provenance = _provenance(spec.model_id, directory)
        stored = store_directory(directory, own, digests, provenance, sure=True)
    remember_pulled(stored.tag, stored.digests, home)
    return stored


def _checked(spec: LLMSpec, name: str, home: Path) -> tuple[Path, Mapping[str, str]]:
    """Where the weights of `spec` are, and the digests of their files: of a snapshot of the Hub
    those that the Hub names, else they are fetched again, once. Errors: WeightsError.
    """
    directory = resolve_weights(spec, home)
    _say_reading(directory, name)
    digests = file_digests(directory)
    fetched = origin(spec.model_id) is Origin.HUB
    if not fetched or not (damaged := damaged_blobs(directory, digests)):
        return directory, digests
    _fetch_again(attrs.evolve(spec, revision=directory.name), directory, damaged, home)
    digests = {**digests, **{inner: file_digest(directory / inner) for inner in damaged}}
    still = damaged_blobs(directory, digests)
    if still and not named_otherwise(directory, still):
        raise WeightsError(
            f"{still[0]} of {spec.model_id} has not the SHA-256 that the Hub names, also when it is"
            " fetched again.",
            hint="Look at the disk, and at what HF_ENDPOINT names.",
        )
    return directory, digests


def _fetch_again(spec: LLMSpec, directory: Path, damaged: list[str], home: Path) -> None:
    """Fetch what is damaged of a snapshot anew; what does not come stays as it was. Errors:
    WeightsError.
    """
    what = f"{', '.join(damaged)} of {spec.model_id} is damaged in the Hub's cache"
    if is_offline():
        raise WeightsError(
            f"{what}, and HF_HUB_OFFLINE forbids to fetch it again.",
            hint=f"Unset HF_HUB_OFFLINE once, or name {directory} to take it as it is.",
        )
    logger.warning("%s: fetching it again.", what)
    try:
        with set_aside(directory, damaged):
            resolve_weights(spec, home)
            if missing := [inner for inner in damaged if not (directory / inner).is_file()]:
                raise WeightsError(
                    f"{missing[0]} did not come.", hint="Try again when the Hub can be reached."
                )
    except WeightsError as error:
        raise WeightsError(
            f"{what}, where it stays: it could not be fetched again. {error.message}",
            hint=error.hint,
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{what}, and cannot be replaced there: {error.strerror}.",
            hint="Set HF_HOME to a directory of yours.",
        ) from error


def _whole_again(model: StoredModel, spec: LLMSpec, settings: Settings) -> Stored:
    """A stored model, with what is damaged of it fetched again from where it came. Errors:
    WeightsError.
    """
    home = settings.bentoml_home
    if not model.ours and not is_pulled(model.tag, home):
        return _stored_already(model.path)
    digests = _digests(model.path, model.tag, home, sure=True)
    if not (damaged := damaged_files(model, home, digests)):
        return Stored(model.tag, model.path, digests)
    source = hub_source(model.path)
    if "commit" not in source:
        raise damaged_model(model, damaged)
    fetched = attrs.evolve(spec, model_id=source["hub_id"], revision=source["commit"], name=None)
    stored = pull_model(fetched, model.tag.partition(":")[0], settings)
    if stored.tag != model.tag:
        raise WeightsError(
            f"{source['hub_id']} at {source['commit'][:12]} makes {stored.tag}, not {model.tag}.",
            hint=f"Use {stored.tag}, and remove the other: openllm rm {model.tag}",
        )
    return stored


def import_archive(
    source: IO[bytes], name: str | None, spec: LLMSpec, settings: Settings
) -> Stored:
    """Bring the model or adapter in an archive into the store, under `name` or its own, and
    remember that it is wanted there; `spec` says whether its code is trusted. Errors: WeightsError,
    BuildError.
    """
    home = settings.bentoml_home
    with workshop() as bench:
        try:
            found = extract_archive(source, bench)
        except OSError as error:
            raise explain(error, "Importing") from error
        directory = _model_inside(bench)
        if (directory / ADAPTER_CONFIG).is_file():
            check_adapter(directory, None)
        else:
            resolve_weights(attrs.evolve(spec, model_id=str(directory)), home)
        inside = directory.relative_to(bench)
        digests = {  # in the order, and of the files, that the store knows
            inner.as_posix(): found.digests[(inside / inner).as_posix()]
            for inner in model_files(directory)
        }
        own = name or found.name or attrs.evolve(spec, name=None).served_name
        stored = store_directory(directory, own, digests, found.metadata)
    remember_pulled(stored.tag, stored.digests, home)
    return stored


def _model_inside(bench: Path) -> Path:
    """The directory of the model: a plain tar may hold that of its parent."""
    inner = list(bench.iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else bench


def store_source(source: str, spec: LLMSpec, settings: Settings) -> str:
    """Store the one source of `spec` that is called `source`; its tag. Errors: those of
    `pack_spec`.
    """
    home = settings.bentoml_home
    for adapter in spec.adapters:
        if adapter.source == source:
            alone = attrs.evolve(spec, adapters=(adapter,))
            _check_adapters(alone, resolve_weights(spec, home), select_packed(spec, settings), home)
            return _store_adapter(adapter, home).tag
    named = spec if source == spec.model_id else _draft(spec)
    return _store_weights(named, resolve_weights(named, home), home).tag


def localise(spec: LLMSpec, find: Callable[[str], Path | None]) -> tuple[LLMSpec, Path | None]:
    """`spec` with store tags turned into directories by `find`, and where its weights are; None:
    not stored.
    """
    paths: Mapping[str, Path] = {
        source: path for source in sources_of(spec) if (path := find(source)) is not None
    }

    def local(source: str) -> str:
        return str(paths[source]) if source in paths else source

    adapters = tuple(
        attrs.evolve(adapter, source=local(adapter.source)) for adapter in spec.adapters
    )
    draft = local(spec.speculative_model) if spec.speculative_model else None
    return attrs.evolve(spec, adapters=adapters, speculative_model=draft), paths.get(spec.model_id)


def _draft(spec: LLMSpec) -> LLMSpec:
    """The draft model of `spec`, as a spec of its own."""
    return LLMSpec(model_id=spec.speculative_model or "", trust_remote_code=spec.trust_remote_code)


def _store_weights(spec: LLMSpec, directory: Path, home: Path) -> Stored:
    if origin(spec.model_id) is Origin.STORE:
        return _stored_already(directory)
    name = attrs.evolve(spec, name=None).served_name
    digests = _digests(directory, name, home)
    return store_directory(directory, name, digests, _provenance(spec.model_id, directory))


def _digests(directory: Path, name: str, home: Path, *, sure: bool = False) -> dict[str, str]:
    """Those of all the model's files; large ones that nobody has touched are read again only to be
    `sure`.
    """
    _say_reading(directory, name)
    digests = Digests(home, sure=sure)
    found = digests.of_directory(directory)
    digests.keep()
    return found


def _say_reading(directory: Path, name: str) -> None:
    """Reading gigabytes takes a while."""
    logger.info("Reading %s (%s) for its digest.", name, readable_size(directory_size(directory)))


def _store_adapter(adapter: AdapterSpec, home: Path) -> Stored:
    directory = resolve_adapter(adapter, home)
    if origin(adapter.source) is Origin.STORE:
        return _stored_already(directory)
    metadata = {**_provenance(adapter.source, directory), "kind": "lora"}
    digests = _digests(directory, adapter.name, home)
    return store_directory(directory, adapter.name, digests, metadata)


def _stored_already(directory: Path) -> Stored:
    """An entry of the store, by its full tag (the spec may say `name:latest`). Errors: BuildError
    for one that is damaged.
    """
    _say_reading(directory, f"{directory.parent.name}:{directory.name}")
    return checked_entry(directory)


def _provenance(source: str, directory: Path) -> dict[str, str]:
    """Where a model came from, for model.yaml: Hub ids only, for a path of this machine says
    nothing elsewhere.
    """
    if origin(source) is not Origin.HUB:
        return {}
    commit = {"commit": directory.name} if len(directory.name) == _COMMIT_LENGTH else {}
    return {"hub_id": source, **commit}
