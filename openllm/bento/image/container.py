"""A Bento made into an image: its context, our Dockerfile, the engine that builds it, and what is
told of the result.

BentoML's own containerize copies the weights to a temporary directory, lets the service change its
code, has no health check, and takes a failed build for a success (tests/bento/test_bentoml.py);
nothing of it is used.
"""

from __future__ import annotations

import datetime
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs
import yaml

from openllm.bento.image.context import BentoParts, build_context
from openllm.bento.image.dockerfile import ContainerOptions, Contents, render_dockerfile
from openllm.bento.image.engine import (
    ContainerEngine,
    build_image,
    find_engine,
    image_root,
    push_image,
)
from openllm.bento.image.provenance import ImageFacts, write_attestations
from openllm.bento.image.size import ContentSize, ImageSize, measure_image
from openllm.bento.pack.document import bento_document, merge_document, read_document
from openllm.config.settings import process_environment
from openllm.config.sizes import readable_size
from openllm.errors import BuildError
from openllm.weights.store import BENTO_FILE

logger = logging.getLogger("openllm")

EPOCH = "SOURCE_DATE_EPOCH"  # reproducible-builds.org/specs/source-date-epoch
# Of all files where nothing is said: layers of one content are then the same, whichever Bento they
# were first made for. Nothing that packs files knows an earlier year.
_FILE_TIME = int(datetime.datetime(1980, 1, 1, tzinfo=datetime.UTC).timestamp())
_STAGES = 2  # packages are in the stage that installs them, and in the image


@attrs.frozen
class ContainerImage:
    """What `containerize` made. `size` is None where the engine does not tell, `digest` where the
    image was not pushed.
    """

    name: str
    engine: str
    size: ImageSize | None
    digest: str | None = None
    attestations: tuple[Path, ...] = ()

    @property
    def reference(self) -> str:
        """The image by its digest where that is known, else by its name."""
        if self.digest is None:
            return self.name
        head, colon, tag = self.name.rpartition(":")
        return f"{head if colon and '/' not in tag else self.name}@{self.digest}"


def containerize(tag: str, options: ContainerOptions | None = None) -> ContainerImage:
    """Make the image of a Bento. Errors: ServeError for no such Bento, BuildError when the disk has
    no room, or the engine or the registry fails.
    """
    options = options or ContainerOptions()
    engine = find_engine(options.engine)
    parts = BentoParts.of(tag)
    specs = merge_document(read_document(bento_document(parts.tag)), {})
    created = creation_time(parts.path, process_environment())
    contents = Contents(parts.tag, specs, tuple(parts.layers), created)
    name = options.name or parts.tag
    dockerfile = render_dockerfile(contents, options)
    size = ContentSize.of(parts)
    _require_room(engine, parts.tag, size)
    of_files = created if process_environment().get(EPOCH, "").strip() else _FILE_TIME
    with build_context(parts, dockerfile) as work:
        build_image(engine, work, name, of_files, options.platform)
    made = ContainerImage(name, engine.name, measure_image(name, size, engine, options.base_image))
    if options.push:
        made = attrs.evolve(made, digest=push_image(engine, name))
    if options.attest is not None:
        facts = ImageFacts(made.reference, made.digest, parts, options, created, dockerfile)
        made = attrs.evolve(made, attestations=write_attestations(facts, engine))
    return made


def creation_time(bento: Path, environ: Mapping[str, str]) -> int:
    """What SOURCE_DATE_EPOCH says, else when the Bento was built: seconds since 1970, so that two
    images of one Bento are the same. Errors: BuildError.
    """
    said = environ.get(EPOCH, "").strip()
    if said:
        if not said.isdecimal() or len(said) > len("253402300799"):  # the end of the year 9999
            raise BuildError(f"{EPOCH} must be seconds since 1970, got {said[:40]!r}.")
        return int(said)
    built = yaml.safe_load((bento / BENTO_FILE).read_text(encoding="utf-8"))["creation_time"]
    if isinstance(built, str):
        built = datetime.datetime.fromisoformat(built)
    if built.tzinfo is None:
        built = built.replace(tzinfo=datetime.UTC)
    return int(built.timestamp())


def _require_room(engine: ContainerEngine, tag: str, size: ContentSize) -> None:
    """Refuse to begin what the engine's disk cannot hold: the packages twice, and the Bento.
    Errors: BuildError.
    """
    root = image_root(engine)
    if root is None:
        return
    needed = _STAGES * sum(size.packages.values()) + size.bento
    free = shutil.disk_usage(root).free
    logger.info("The image needs %s where %s keeps images.", readable_size(needed), engine.name)
    if needed > free:
        raise BuildError(
            f"The image of {tag} needs {readable_size(needed)} where {engine.name} keeps"
            f" images, {readable_size(free)} are free.",
            hint=f"Free some space below {root}.",
        )
