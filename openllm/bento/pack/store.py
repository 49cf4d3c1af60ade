"""Weights and adapters in BentoML's model store: the tag's version is their content, and nothing is
there by halves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import bentoml
import yaml
from bentoml.exceptions import BentoMLException
from bentoml.models import ModelContext

from openllm.bento.pack.files import (
    Placement,
    bytes_to_copy,
    explain,
    place,
    require_room,
)
from openllm.bento.pack.names import tag_name
from openllm.config.sizes import readable_size
from openllm.errors import ServeError
from openllm.weights.aliases import write_whole
from openllm.weights.checkpoint import file_digest, join_digests, model_files
from openllm.weights.links import check_links
from openllm.weights.scratch import HIDDEN, PREFIX, scratch
from openllm.weights.store import TEMPORARY

logger = logging.getLogger(__name__)

MODEL_FILE = "model.yaml"
LATEST = "latest"
VERSION_LENGTH = 20  # hexadecimal digits of the content digest, 80 bits


@attrs.frozen
class Stored:
    """One entry of the model store, and what it took to get it there."""

    tag: str
    path: Path
    placement: Placement = attrs.field(factory=Placement)
    new: bool = False
    digests: Mapping[str, str] | None = None  # of its files, where they had to be read anyway


def store_directory(
    directory: Path, name: str, digests: Mapping[str, str], metadata: Mapping[str, str]
) -> Stored:
    """Bring `directory` into the store as `name:digest`; a second time nothing is written.

    `digests` are those of its files (`checkpoint.file_digests`). Links in the directory (a Hub
    cache) are followed to the real files. `metadata` goes into model.yaml. Errors: BuildError when
    the disk has no room or refuses, WeightsError for links out of the directory.
    """
    check_links(directory)
    digest = join_digests(digests)
    tag = bentoml.Tag(tag_name(name), digest[:VERSION_LENGTH])
    files = list(model_files(directory))
    what = f"Storing {tag.name}"
    try:
        if (found := find_model(str(tag))) is not None:
            _point_latest(found.parent, str(tag.version))
            return Stored(str(tag), found, digests=digests)
        with workshop() as bench:
            needed = bytes_to_copy((directory / inner for inner in files), bench)
            logger.info("%s needs %s on the disk.", what, readable_size(needed))
            require_room(needed, bench, what)
            placed = (place(directory / inner, bench / inner) for inner in files)
            placement = sum(placed, start=Placement())
            _write_info(bench, tag, {**metadata, "digest": digest})
            kept = publish(bench, _store_path(), tag, MODEL_FILE)
            logger.info(
                "Stored %s: %s linked, %s copied.",
                tag,
                readable_size(placement.shared),
                readable_size(placement.copied),
            )
            return Stored(str(tag), kept, placement, new=True, digests=digests)
    except OSError as error:
        raise explain(error, what) from error


def find_model(tag: str) -> Path | None:
    """The directory of a model in the store that is in force: the Bento's own, or this machine's.
    None if absent.
    """
    try:
        return Path(bentoml.models.get(tag).path)
    except BentoMLException:  # also for a directory that something else left behind
        return None


def find_bento(tag: str) -> tuple[str, Path]:
    """The full tag and the directory of a Bento of the store. Errors: ServeError."""
    try:
        found = bentoml.bentos.get(tag)
    except (BentoMLException, ValueError):
        raise ServeError(
            f"There is no Bento {tag!r}.", hint="`bentoml list` shows what is there."
        ) from None
    return str(found.tag), Path(found.path)


def hub_source(path: Path) -> dict[str, str]:
    """Where a stored model came from, as far as model.yaml knows: `hub_id` and `commit`."""
    info = yaml.safe_load((path / MODEL_FILE).read_text(encoding="utf-8"))
    metadata = info.get("metadata") or {}
    return {key: str(metadata[key]) for key in ("hub_id", "commit") if key in metadata}


def _write_info(bench: Path, tag: bentoml.Tag, metadata: Mapping[str, str]) -> None:
    """model.yaml, by BentoML's own writer."""
    from bentoml._internal.models.model import ModelInfo, ModelOptions

    info = ModelInfo(
        tag=tag,
        module="",
        labels={"framework": "openllm"},
        options=ModelOptions(),
        metadata=dict(metadata),
        context=ModelContext(framework_name="openllm", framework_versions={}),
        signatures={},
        api_version="v1",
    )
    with (bench / MODEL_FILE).open("w", encoding="utf-8") as target:
        info.dump(target)


@contextmanager
def workshop() -> Iterator[Path]:
    """An empty directory on the store's file system; gone afterwards, whatever happens. What a
    process that was killed has left of such is removed.
    """
    models = _store_path()
    models.mkdir(parents=True, exist_ok=True)
    nearby, prefix = models.parent / TEMPORARY, PREFIX
    nearby.mkdir(exist_ok=True)
    if nearby.stat().st_dev != models.stat().st_dev:
        # a disk of its own: the one place from which a rename can reach the store
        nearby, prefix = models, HIDDEN
    with scratch(nearby, prefix) as bench:
        yield bench


def publish(finished: Path, store: Path, tag: bentoml.Tag, marker: str) -> Path:
    """Move a finished directory to its place in `store` in one step, and let `latest` point at it.

    `marker` is a file that a complete entry has. Errors: OSError.
    """
    home = store / str(tag.name)
    home.mkdir(parents=True, exist_ok=True)
    target = home / str(tag.version)
    finished.chmod(0o755)
    try:
        finished.rename(target)
    except OSError:
        if (target / marker).is_file():
            return target  # somebody else stored the same content a moment ago
        if not any(home.iterdir()):
            home.rmdir()
        raise
    write_whole(home / LATEST, str(tag.version))
    return target


def _point_latest(versions: Path, version: str) -> None:
    """What a process that was killed between two steps has left undone."""
    if not (versions / LATEST).is_file():
        write_whole(versions / LATEST, version)


def mend(stored: Stored, directory: Path) -> None:
    """Bring what is not as it was stored back from `directory`, which holds the same model, and
    take out what does not belong to it; of a model that was stored just now nothing is read.
    Errors: BuildError when the disk has no room or refuses.
    """
    if stored.new or stored.digests is None:
        return
    try:
        damaged = [
            inner
            for inner, digest in stored.digests.items()
            if not _is_good(stored.path / inner, directory / inner, digest)
        ]
        for foreign in set(model_files(stored.path)) - {Path(name) for name in stored.digests}:
            (stored.path / foreign).unlink()
        if not damaged:
            return
        with workshop() as bench:
            for inner in damaged:
                place(directory / inner, bench / inner)
                (stored.path / inner).parent.mkdir(parents=True, exist_ok=True)
                (bench / inner).replace(stored.path / inner)
    except OSError as error:
        raise explain(error, f"Mending {stored.tag}") from error
    logger.warning("%s was damaged in %s, and is whole again.", ", ".join(damaged), stored.tag)


def _is_good(kept: Path, source: Path, digest: str) -> bool:
    """Whether a stored file has its digest; one that is the source itself is not read again."""
    if not kept.is_file():
        return False
    return kept.samefile(source) or file_digest(kept) == digest


def _store_path() -> Path:
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.model_store_dir.get())
