"""A Bento made into an image by BentoML's containerize, with our Dockerfile in place of BentoML's.

BentoML's defects about images are worked around here and in `image` only: code that the service
user may write, no health check, a failed build that is logged and then taken for a success, a
backend that cannot be unregistered. Each has a test in tests/bento/test_bentoml.py, which fails
once BentoML has mended it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import bentoml.container
from bentoml.exceptions import BentoMLException

from openllm.bento.image.dockerfile import ContainerOptions, render_dockerfile
from openllm.bento.image.size import ImageSize, measure_image
from openllm.bento.pack.document import bento_document, merge_document, read_document
from openllm.bento.pack.store import find_bento
from openllm.config.settings import process_environment
from openllm.errors import BuildError

logger = logging.getLogger("openllm")

# Podman and Buildah leave a HEALTHCHECK out of their own format.
ENGINES: Mapping[str, tuple[str, ...]] = {
    "docker": (),
    "podman": ("--format", "docker"),
    "buildah": ("--format", "docker"),
}
# Handed to the build by name only, so that their values stand in no command line.
_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_BENTOML_LOGGER = "bentoml._internal.container"


def find_engine(wanted: str | None = None) -> str:
    """The container engine to use: `wanted`, or the first that is installed. Errors: BuildError."""
    if wanted is not None and wanted not in ENGINES:
        raise BuildError(
            f"There is no container engine {wanted[:40]!r} here.",
            hint=f"Take {', '.join(ENGINES)}.",
        )
    for name in (wanted,) if wanted else ENGINES:
        if shutil.which(name):
            return name
    missing = f"{wanted} is not installed" if wanted else "No container engine is installed"
    raise BuildError(
        f"{missing}.", hint=f"Install one of {', '.join(ENGINES)}, such as: apt-get install podman"
    )


@attrs.frozen
class ContainerImage:
    """What `containerize` made; `size` is None where the engine does not tell."""

    name: str
    engine: str
    size: ImageSize | None


def containerize(tag: str, options: ContainerOptions | None = None) -> ContainerImage:
    """Make the image of a Bento. Errors: ServeError for no such Bento, BuildError when the engine
    fails.
    """
    options = options or ContainerOptions()
    engine = find_engine(options.engine)
    full, _ = find_bento(tag)
    specs = merge_document(read_document(bento_document(full)), {})
    dockerfile = render_dockerfile(full, specs, options)
    name = options.name or full
    with _backend(engine, dockerfile) as backend, _failures() as failures:
        try:
            done = bentoml.container.build(full, backend=backend, image_tag=(name,))
        except BentoMLException as error:
            raise _failed(engine, name, error) from None
    if done is None or failures:
        raise _failed(engine, name, failures[0] if failures else None)
    return ContainerImage(name, engine, measure_image(name, full, engine, options.base_image))


@contextmanager
def _backend(engine: str, dockerfile: str) -> Iterator[str]:
    """A backend of BentoML for one build: `engine` with `dockerfile`."""
    # `register_backend` has no counterpart.
    from bentoml._internal.container import BUILDER_REGISTRY

    def construct(context_path: str, file: str, tag: tuple[str, ...]) -> list[str]:
        """Called once the build context is ready: put our Dockerfile there, and say how to build
        it.
        """
        Path(file).write_text(dockerfile, encoding="utf-8")
        environment = process_environment()
        indexes = [
            part for name in _INDEXES if environment.get(name) for part in ("--build-arg", name)
        ]
        names = [part for one in tag for part in ("--tag", one)]
        return [*ENGINES[engine], "--file", str(file), *names, *indexes, str(context_path)]

    name = f"openllm-{engine}"
    BUILDER_REGISTRY.pop(name, None)
    bentoml.container.register_backend(
        name,
        binary=shutil.which(engine),
        # of the Dockerfile; it also makes BentoML show what the engine says
        buildkit_support=False,
        health=lambda: shutil.which(engine) is not None,
        construct_build_args=construct,
        env={"DOCKER_BUILDKIT": "1"},
    )
    try:
        yield name
    finally:
        BUILDER_REGISTRY.pop(name, None)


class _Collector(logging.Handler):
    """Keeps the exceptions that BentoML logs; what the engine says meanwhile becomes our own
    progress.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:
            logger.info("%s", record.getMessage().strip())
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append(record.exc_info[1])


@contextmanager
def _failures() -> Iterator[list[BaseException]]:
    """What BentoML logs as errors while an image is built; it is not printed, traces and all."""
    theirs = logging.getLogger(_BENTOML_LOGGER)
    collector = _Collector()
    before = theirs.propagate, theirs.level
    theirs.propagate = False
    theirs.setLevel(logging.INFO)
    theirs.addHandler(collector)
    try:
        yield collector.found
    finally:
        theirs.removeHandler(collector)
        theirs.propagate = before[0]
        theirs.setLevel(before[1])


def _failed(engine: str, name: str, error: BaseException | None) -> BuildError:
    """One line: pip's first complaint, else the last that the engine wrote."""
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith("ERROR: ")]
    reasons = (*complaints[:1], *lines[-1:], "it gave no reason")
    return BuildError(f"{engine} could not build {name}: {reasons[0]}")
