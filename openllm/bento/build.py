"""`openllm build`: specs in, a Bento out; the same input gives the same version, and then nothing
is written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import bentoml
from bentoml.exceptions import BentoMLException

from openllm.backends.select import find_backend
from openllm.bento.contents.check import built_of, is_intact
from openllm.bento.contents.description import complete_bento
from openllm.bento.contents.scan import scan_bento
from openllm.bento.contents.signature import Signer
from openllm.bento.contents.version import UNKNOWN
from openllm.bento.lock.hashes import fetch_hashes, write_hashes
from openllm.bento.lock.image import HASHES, LockedImage, one_environment
from openllm.bento.lock.wheel import wheel_record
from openllm.bento.pack.document import DOCUMENT, merge_document, write_document
from openllm.bento.pack.files import explain, size_on_disk
from openllm.bento.pack.names import check_name, check_specs, check_text, tag_name
from openllm.bento.pack.render import render_readme, render_service
from openllm.bento.pack.resources import Resources, require_fit
from openllm.bento.pack.sources import Packed, local_source_paths, pack_spec
from openllm.bento.pack.store import Stored, bento_store, publish, workshop
from openllm.config.settings import Settings, process_environment
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.llm.replica import PlannedEngine, PlannedReplica
from openllm.weights.checkpoint import directory_size
from openllm.weights.outline import outline_of_size
from openllm.weights.temporary import Temporary

logger = logging.getLogger(__name__)

SERVICE = "service.py"


@attrs.frozen
class BuildOptions:
    """How a Bento is built. `name` defaults to the first model's."""

    name: str | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    resources: Resources = attrs.field(factory=Resources)
    by_reference: bool = False  # the weights stay on the Hub, named by their commit
    hashes: bool = False  # the lock gets the hash of every package, asked of pip's index
    signer: Signer | None = None

    def __attrs_post_init__(self) -> None:
        for key, value in self.labels.items():
            check_text(key, "a label's name")
            check_text(value, "a label")


@attrs.frozen
class BuildResult:
    """A Bento in the store; `size` in bytes, its models included."""

    tag: str
    path: Path
    size: int
    models: tuple[Stored, ...]
    specs: tuple[LLMSpec, ...]
    new: bool  # False: it was there already, and nothing was written


@attrs.frozen
class BentoPlan:
    """A Bento that is about to be made: `project` is what BentoML is given, by file name."""

    name: str
    project: Mapping[str, str]
    packed: tuple[Packed, ...]
    options: BuildOptions
    inputs: str  # the digest of all that it is made of


def build(specs: LLMSpec | Sequence[LLMSpec], options: BuildOptions | None = None) -> BuildResult:
    """Pack `specs` into one Bento in BentoML's store, as the settings of this process say.

    Errors: WeightsError and ConfigurationError for a model that cannot work, BuildError for the
    rest (no room on the disk, a package that is missing here, something secret that would go into
    the Bento). Nothing is kept by halves.
    """
    wanted = (specs,) if isinstance(specs, LLMSpec) else tuple(specs)
    with one_environment():
        return _build(wanted, options or BuildOptions(), Settings.from_env())


def _build(wanted: Sequence[LLMSpec], options: BuildOptions, settings: Settings) -> BuildResult:
    """What `build` says."""
    merged = merge_document([spec.to_dict() for spec in wanted], {})
    check_specs(merged)
    resources = options.resources
    _check_gpus(merged, resources)
    name = check_name(options.name or tag_name(merged[0].served_name))
    hashes = {}
    if options.hashes:
        pins = LockedImage.for_specs(merged, settings).lock().pins
        hashes = {HASHES: write_hashes(fetch_hashes(pins))}
    packed = [pack_spec(spec, settings, by_reference=options.by_reference) for spec in merged]
    ready = tuple(item.spec for item in packed)
    replica = PlannedReplica.of(
        [_engine(item) for item in packed], resources.gpu, resources.gpu_type
    )
    require_fit(replica, name, settings)
    project = {
        SERVICE: render_service(name),
        DOCUMENT: write_document(ready, resources),
        **hashes,
    }
    image = LockedImage.for_specs(ready, settings)
    inputs = _inputs(name, project, image, options)
    path, new = built_of(bento_store() / name, inputs), False
    if path is None:
        plan = BentoPlan(name, project, tuple(packed), options, inputs)
        with Temporary() as folder:
            path, new = _assemble(plan, (folder, *local_source_paths(wanted))), True
    if options.signer is not None:
        options.signer.sign(path)
    models = {stored.tag: stored for item in packed for stored in item.stored}
    size = size_on_disk(path, *(stored.path for stored in models.values()))
    return BuildResult(f"{name}:{path.name}", path, size, tuple(models.values()), ready, new)


def _check_gpus(specs: Sequence[LLMSpec], resources: Resources) -> None:
    """Errors: BuildError when the Bento asks for GPUs and would lock an engine that cannot use
    them.
    """
    on_gpus = {spec.backend for spec in specs if spec.backend and spec.device != "cpu"}
    for backend in [find_backend(name) for name in sorted(on_gpus)] if resources.gpu else ():
        if found := backend.cpu_build():
            raise BuildError(
                f"The Bento asks for {resources.gpu} GPU(s), and the {found} that it would lock,"
                " the one installed here, is built for the CPU.",
                hint=(
                    f"Build it in an environment with `pip install"
                    f" {' '.join(backend.facts.packages)}`, or leave the GPUs out of resources."
                ),
            )


def _engine(item: Packed) -> PlannedEngine:
    """What a packed spec runs, by its files; of weights that stay on the Hub the description is
    here.
    """
    stored = list(item.stored)
    if item.pinned is not None:
        outline = outline_of_size(item.pinned.directory, item.pinned.size)
    else:
        path = stored.pop(0).path
        outline = outline_of_size(path, directory_size(path))
    draft = directory_size(stored[0].path) if item.spec.speculative_model else 0
    return PlannedEngine(item.spec, outline, draft)


def _inputs(
    name: str, project: Mapping[str, str], image: LockedImage, options: BuildOptions
) -> str:
    """The digest of all that goes into the Bento: SHA-256, hexadecimal."""
    parts = {
        "project": project,
        "readme": render_readme(name, image.specs),
        "image": image.fingerprint(),
        "wheel": wheel_record(),
        "bentoml": bentoml.__version__,
        "labels": options.labels,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _assemble(plan: BentoPlan, private: tuple[Path, ...]) -> Path:
    """Write the project into the first of `private`, let BentoML make a Bento of it, scan that, and
    keep it under the version that its content has.
    """
    folder = private[0]
    for name, text in plan.project.items():
        (folder / name).write_text(text, encoding="utf-8")
    try:
        with workshop() as bench:
            logger.info("Making the Bento %s: its service and locked packages.", plan.name)
            unnamed = bentoml.Tag(plan.name, UNKNOWN)
            bento = _create(unnamed, folder, bench, plan.options)
            path = Path(bento.path)  # there while `bento` is
            logger.info("Writing what it says of itself, and looking for secrets.")
            version = complete_bento(path, plan.packed, plan.inputs)
            scan_bento(path, private, process_environment())
            return publish(path, bento_store(), bentoml.Tag(plan.name, version), is_intact)
    except BentoMLException as error:
        raise BuildError(
            f"BentoML could not build {plan.name}: {str(error).splitlines()[0]}"
        ) from error
    except OSError as error:
        raise explain(error, f"Building {plan.name}") from error


def _create(tag: bentoml.Tag, folder: Path, bench: Path, options: BuildOptions) -> bentoml.Bento:
    """A Bento below `bench`, not in the store yet."""
    from bentoml._internal.bento.build_config import BentoBuildConfig
    from bentoml._internal.configuration.containers import BentoMLContainer

    config = BentoBuildConfig(
        service="service:svc",
        name=str(tag.name),
        include=[SERVICE, DOCUMENT, HASHES],
        labels=dict(options.labels),
    )
    usual = BentoMLContainer.tmp_bento_store_dir.get()
    # There BentoML leaves what it had when something fails.
    BentoMLContainer.tmp_bento_store_dir.set(str(bench))
    sys.modules.pop("service", None)  # of an earlier build in this process
    try:
        return bentoml.Bento.create(config, version=str(tag.version), build_ctx=str(folder))
    finally:
        BentoMLContainer.tmp_bento_store_dir.set(usual)
        sys.modules.pop("service", None)
