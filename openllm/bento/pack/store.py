"""Weights and adapters in BentoML's model store: the tag's version is their content, and nothing is
there by halves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
from openllm.errors import BuildError, ServeError
from openllm.weights.aliases import write_whole
from openllm.weights.checkpoint import join_digests
from openllm.weights.digests import Digests
from openllm.weights.links import check_links
from openllm.weights.scratch import HIDDEN, PREFIX, scratch
from openllm.weights.store import (
    LATEST,
    MODEL_FILE,
    TEMPORARY,
    damaged_files,
    kept_digests,
    remember_stored,
    stored_model,
)

logger = logging.getLogger(__name__)

VERSION_LENGTH = 20  # hexadecimal digits of the content digest, 80 bits


@attrs.frozen
class Stored:
    """One entry of the model store, and what it took to get it there."""

    tag: str
    path: Path
    digests: Mapping[str, str]  # of its files
    placement: Placement = attrs.field(factory=Placement)
    new: bool = False


def store_directory(
    directory: Path,
    name: str,
    digests: Mapping[str, str],
    metadata: Mapping[str, str],
    *,
    sure: bool = False,
) -> Stored:
    """Bring `directory` into the store as `name:digest`; a second time nothing is written, unless
    what is there is damaged: then it is replaced.

    `digests` are those of its files (`checkpoint.file_digests`). Links in the directory (a Hub
    cache) are followed to the real files. `metadata` goes into model.yaml. `sure` reads all
    that the store has, also what nobody has touched. Errors: BuildError when
    the disk has no room or refuses, or the directory is written to meanwhile; WeightsError for
    links out of the directory.
    """
    check_links(directory)
    digest = join_digests(digests)
    tag = bentoml.Tag(tag_name(name), digest[:VERSION_LENGTH])
    what = f"Storing {tag.name}"
    known = Digests(_store_path().parent, sure=sure)
    try:
        if (found := _intact(str(tag), known)) is not None:
            _point_latest(found.parent, str(tag.version))
            return Stored(str(tag), found, digests)
        _warn_of_shared(directory, tag, digests)
        with workshop() as bench:
            placement = _place_all(directory, bench, digests, known, what)
            _write_info(bench, tag, {**metadata, "digest": digest})
            same = partial(_is_same, str(tag), known)
            kept = publish(bench, _store_path(), tag, same)
            remember_stored(str(tag), digests, _store_path().parent)
            logger.info(
                "Stored %s: %s linked, %s copied.",
                tag,
                readable_size(placement.shared),
                readable_size(placement.copied),
            )
            return Stored(str(tag), kept, digests, placement, new=True)
    except OSError as error:
        raise explain(error, what) from error
    finally:
        known.keep()


def checked_entry(path: Path) -> Stored:
    """The entry of the store that lies at `path`. Errors: BuildError for one that is not what was
    stored, and cannot be replaced by what it came from.
    """
    tag = f"{path.parent.name}:{path.name}"
    known = Digests(_store_path().parent)
    digests = known.of_directory(path)
    if damage := _damage(path, tag, digests):
        raise BuildError(
            f"{tag} in the store is not as it was stored: {damage}.",
            hint=f"Build from where it came from, or remove it: openllm rm {tag}.",
        )
    known.keep()
    return Stored(tag, path, digests)


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


def in_bento_store(bento: Path) -> bool:
    """Whether a Bento's directory is one of BentoML's store, be it or what leads there a link."""
    store = bento_store().resolve()
    return store in (bento.resolve().parent.parent, bento.absolute().parent.parent.resolve())


def bento_store() -> Path:
    """BentoML's store of Bentos, as this process has it set."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.bento_store_dir.get())


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


def publish(finished: Path, store: Path, tag: bentoml.Tag, is_same: Callable[[Path], bool]) -> Path:
    """Move a finished directory to its place in `store` in one step, and let `latest` point at it.

    `is_same` tells of what is there already whether it is as good; else it is replaced. Errors:
    OSError.
    """
    home = store / str(tag.name)
    home.mkdir(parents=True, exist_ok=True)
    target = home / str(tag.version)
    finished.chmod(0o755)
    try:
        finished.rename(target)
    except OSError:
        if not target.is_dir():
            if not any(home.iterdir()):
                home.rmdir()
            raise
        if is_same(target):
            return target  # somebody else stored the same content a moment ago
        with scratch(store, HIDDEN) as grave:
            target.rename(grave / "damaged")
            finished.rename(target)
    write_whole(home / LATEST, str(tag.version))
    return target


def _point_latest(versions: Path, version: str) -> None:
    """What a process that was killed between two steps has left undone."""
    if not (versions / LATEST).is_file():
        write_whole(versions / LATEST, version)


def _intact(tag: str, known: Digests) -> Path | None:
    """Where the store has `tag` as it was stored; None where it has not, and why is said."""
    found = find_model(tag)
    if found is None:
        return None
    if damage := _damage(found, tag, known.of_directory(found)):
        logger.warning("%s in the store is damaged (%s), and is replaced.", tag, damage)
        return None
    return found


def _is_same(tag: str, known: Digests, path: Path) -> bool:
    return find_model(tag) == path and not _damage(path, tag, known.of_directory(path))


def _damage(path: Path, tag: str, digests: Mapping[str, str]) -> str:
    """What of a stored model, whose files have these `digests` now, is not as it was stored, in
    words; empty: nothing, or it is not known.
    """
    home = _store_path().parent
    model = stored_model(path)
    if not (model.ours or kept_digests(tag, home)):
        return ""  # of somebody else's making
    damaged = [name or "its content" for name in damaged_files(model, home, digests)]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return ", ".join(damaged[:3]) + more


def _warn_of_shared(directory: Path, tag: bentoml.Tag, digests: Mapping[str, str]) -> None:
    """Other versions that share a file with this one are damaged: they were linked to it, and it
    was edited in place.
    """
    home = _store_path().parent
    inodes = {name: _inode(directory / name) for name in digests}
    for other in sorted((_store_path() / str(tag.name)).glob(f"*/{MODEL_FILE}")):
        named = f"{tag.name}:{other.parent.name}"
        kept = kept_digests(named, home) or {}
        for name, digest in kept.items():
            path = other.parent / name
            shared = path.is_file() and _inode(path) == inodes.get(name)
            if shared and digest != digests[name]:
                logger.warning(
                    "%s in the store is damaged: its %s is linked to the file that was edited in"
                    " place. Remove it (openllm rm %s), and write new files beside old ones.",
                    named,
                    name,
                    named,
                )


def _inode(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _place_all(
    directory: Path, bench: Path, digests: Mapping[str, str], known: Digests, what: str
) -> Placement:
    """Bring a model's files to `bench`, as they were when `digests` were read. Errors: BuildError,
    OSError.
    """
    needed = bytes_to_copy((directory / inner for inner in digests), bench)
    logger.info("%s needs %s on the disk.", what, readable_size(needed))
    require_room(needed, bench, what)
    placement = Placement()
    for name, digest in digests.items():
        source, target = (directory / name).resolve(strict=True), bench / name
        before = source.stat()
        placement += place(source, target)
        known.moved(source, before, target)
        if known.of(target) != digest:
            raise BuildError(
                f"{what}: {name} was changed while it was read.",
                hint="Build again once nobody writes to it.",
            )
    return placement


def _store_path() -> Path:
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.model_store_dir.get())
