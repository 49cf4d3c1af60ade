"""The check of a Bento against what it says of itself: paths, models, and the version that names
them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
import yaml

from openllm.bento.contents.manifest import (
    MANIFEST,
    MODELS,
    SIGNATURE,
    Manifest,
    ModelEntry,
    own_listing,
)
from openllm.bento.contents.version import content_version, model_file_digest
from openllm.bento.pack.document import DOCUMENT, merge_document, read_document
from openllm.bento.pack.pinning import is_pinned
from openllm.bento.pack.sources import inside_sources
from openllm.errors import BuildError, OpenLLMError
from openllm.weights.checkpoint import join_digests
from openllm.weights.listing import Listing, differences
from openllm.weights.store import BENTO_FILE, LATEST, MODEL_FILE, models_of

PROJECT = "src"  # below a Bento

logger = logging.getLogger(__name__)
Find = Callable[[str], Path | None]


@attrs.frozen
class Verification:
    """`problems` is empty for a Bento that is as it was built; `checked` counts paths, the models'
    included; `path` is where it lies.
    """

    tag: str
    checked: int
    problems: tuple[str, ...]
    path: Path


def check_bento(
    path: Path, find: Find, tag: str | None = None, *, stored: bool = False
) -> Verification:
    """Read everything that the Bento at `path` consists of, and compare it with its manifest.

    Models are those in the Bento itself where it has any, as in an image, else `find` tells where
    the store has them. One that is `stored` in BentoML's store may have none itself: `openllm
    start` would load those of the store all the same. `tag` is what the Bento was asked for by.
    Nothing of it is run, and no link is followed. Errors: BuildError for a directory that is no
    Bento of ours.
    """
    manifest = Manifest.read(path)
    try:
        named = bento_tag(path)
        listing = own_listing(path, stored=stored)
        models = _model_differences(path, manifest, find, stored=stored)
        problems = [*_misnamed(named, tag), *_problems(path, named, manifest, listing, models)]
    except OSError as error:
        raise BuildError(
            f"{path} cannot be read whole: {error.strerror}.", hint="Check the permissions."
        ) from None
    inside = [model for model in manifest.models if model.inside]
    checked = len(manifest.listing.modes) + sum(len(model.listing.modes) for model in inside)
    return Verification(named, checked, tuple(problems), path)


def is_intact(path: Path) -> bool:
    """Whether a Bento of the store is what its name says, but for its models, which are not looked
    at.
    """
    try:
        manifest, listing = Manifest.read(path), own_listing(path, stored=True)
        return (
            not any(_own_differences(path, manifest, listing))
            and bento_tag(path).partition(":")[2] == path.name
            and content_version(path, listing, manifest.models) == path.name
        )
    except (BuildError, OSError):
        return False


def built_of(versions: Path, inputs: str) -> Path | None:
    """The Bento among `versions` that was made of these inputs, unless it is damaged, which is
    said; None: there is none.
    """
    for path in sorted(versions.glob(f"*/{MANIFEST}")):
        try:
            same = Manifest.read(path.parent).inputs == inputs
        except BuildError:
            continue
        if same and is_intact(path.parent):
            return path.parent
        if same:
            logger.warning(
                "%s:%s is not as it was built, and is built again.",
                versions.name,
                path.parent.name,
            )
    return None


def bento_tag(path: Path) -> str:
    """The tag that bento.yaml says. Errors: BuildError where it says none."""
    try:
        data = yaml.safe_load((path / BENTO_FILE).read_text(encoding="utf-8"))
        return f"{data['name']}:{data['version']}"
    except (OSError, ValueError, yaml.YAMLError, TypeError, LookupError):
        raise BuildError(f"{path} has no {BENTO_FILE} that can be read.") from None


def _misnamed(named: str, tag: str | None) -> Iterator[str]:
    if tag is not None and tag != named:
        yield f"{BENTO_FILE} says that this is {named}."


def _problems(
    path: Path, named: str, manifest: Manifest, listing: Listing, different_models: Iterator[str]
) -> Iterator[str]:
    own = list(_own_differences(path, manifest, listing))
    yield from own
    models = [*different_models, *_unnamed(path, manifest.models)]
    yield from models
    # what was changed above has another version, of course
    if not own and not models:
        version = content_version(path, listing, manifest.models)
        if version != named.partition(":")[2]:
            yield (
                f"{MANIFEST} was changed with what it describes: this content is not what"
                f" {named} was named after, its version would be {version}."
            )


def _model_differences(
    path: Path, manifest: Manifest, find: Find, *, stored: bool
) -> Iterator[str]:
    """What is different in the models that whoever serves the Bento loads."""
    store = path / MODELS
    if not stored and (store.is_symlink() or store.exists()):
        yield from _differences_inside(store, manifest.models)
        return
    for model in manifest.models:
        if model.inside:
            yield from _differences(model, find(model.tag))


def _own_differences(path: Path, manifest: Manifest, listing: Listing) -> Iterator[str]:
    yield from differences(manifest.listing, listing)
    for name in (MANIFEST, SIGNATURE):
        if (path / name).is_symlink() or ((path / name).exists() and not (path / name).is_file()):
            yield f"{name} is no file."


def _differences_inside(store: Path, models: tuple[ModelEntry, ...]) -> Iterator[str]:
    """What is different in the models that the Bento has itself, and what else is there."""
    wanted = {model.tag.replace(":", "/"): model for model in models if model.inside}
    if store.is_symlink() or not store.is_dir():
        yield f"{MODELS} is no directory."
        return
    found = Listing.of(store).without(*wanted)
    names = {place.partition("/")[0] for place in wanted}
    # BentoML writes a file that says which version was stored last
    kinds = {**dict.fromkeys(names, "d"), **{f"{name}/{LATEST}": "-" for name in names}}
    for name, mode in found.modes.items():
        if kinds.get(name) != mode[:1]:
            yield f"{MODELS}/{name} was added."
    for place, model in wanted.items():
        yield from _differences(model, store / place)


def _differences(model: ModelEntry, directory: Path | None) -> Iterator[str]:
    """What of a model is not as it was when the Bento was built."""
    if directory is None or not directory.is_dir() or directory.is_symlink():
        yield f"{model.tag} is not in the model store."
        return
    found = list(
        differences(model.listing, model_listing(directory), f"{model.tag}/", fewer_rights=True)
    )
    yield from found
    if not found:
        yield from _contradictions(model, directory)


def model_listing(directory: Path, known: Mapping[str, str] | None = None) -> Listing:
    """All paths of a stored model; `known` are digests of its files that were computed already.
    Errors: OSError.
    """
    listing = Listing.of(directory, known)
    if MODEL_FILE not in listing.files:
        return listing
    said = {**listing.files, MODEL_FILE: model_file_digest(directory / MODEL_FILE)}
    return attrs.evolve(listing, files=said)


def _contradictions(model: ModelEntry, directory: Path) -> Iterator[str]:
    """Whether a tag that is a digest is that of the files, whatever the manifest says of them."""
    files = {name: digest for name, digest in model.listing.files.items() if name in model.files}
    if files != dict(model.files):
        yield f"{MANIFEST} says two things of the files of {model.tag}."
    stored = yaml.safe_load((directory / MODEL_FILE).read_text(encoding="utf-8"))
    digest = str((stored.get("metadata") or {}).get("digest") or "")
    if not digest:
        return
    real, version = join_digests(dict(sorted(files.items()))), model.tag.partition(":")[2]
    if real != digest or not digest.startswith(version):
        yield f"{model.tag} is not named after its files: their digest begins with {real[:20]}."


def _unnamed(path: Path, models: tuple[ModelEntry, ...]) -> Iterator[str]:
    """Models that the Bento serves, and that are not where the manifest says."""
    try:
        specs = merge_document(read_document(path / PROJECT / DOCUMENT), {})
        carried = set(models_of(path / BENTO_FILE))
    except OpenLLMError as error:
        yield str(error)
        return
    inside = {model.tag for model in models if model.inside}
    outside = {model.tag for model in models if not model.inside}
    served = {source for spec in specs for source in inside_sources(spec)}
    fetched = {
        f"{spec.model_id}@{spec.revision}"
        for spec in specs
        if is_pinned(spec.model_id, spec.revision)
    }
    for tag in sorted((served | carried) - inside):
        yield f"{tag} is in the Bento, and {MANIFEST} does not have it."
    for tag in sorted(inside - carried):
        yield f"{tag} is in {MANIFEST}, and the Bento does not have it."
    for tag in sorted(fetched ^ outside):
        one, other = (DOCUMENT, MANIFEST) if tag in fetched else (MANIFEST, DOCUMENT)
        yield f"{tag} is fetched at start as {one} has it, and not as {other} has it."
