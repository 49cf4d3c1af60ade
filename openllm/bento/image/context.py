"""The build context of an image: the Bento in parts, one for each layer, made of links and readable
by everybody.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import bentoml

from openllm.bento.contents.description import REQUIREMENTS
from openllm.bento.image import trim
from openllm.bento.lock import completion
from openllm.bento.lock.image import WHEELS
from openllm.bento.pack.files import explain, place, require_room
from openllm.bento.pack.store import find_bento, workshop
from openllm.errors import BuildError
from openllm.weights.store import LATEST

HUB = "huggingface"  # BentoML's word for models that a Bento does not carry
CONTEXT, ENGINE_TEMPORARY = "context", "tmp"  # below the directory of a build
# What the stages that are thrown away need, what becomes a layer of its own, and the rest.
BUILD, MODELS, SERVICE = "build", "models", "bento"
PACKAGES, WHEEL = "packages.txt", "openllm.txt"  # the lock in two, below BUILD
SCRIPTS = (completion, trim)  # run in the image before openllm is there
_FILE, _PROGRAM, _DIRECTORY = 0o644, 0o755, 0o755


@attrs.frozen
class BentoParts:
    """A Bento of the store and the models that it carries, each with the directory of its files."""

    tag: str
    path: Path
    models: tuple[tuple[bentoml.Tag, Path], ...]

    @classmethod
    def of(cls, tag: str) -> BentoParts:
        """Errors: ServeError for no such Bento."""
        full, path = find_bento(tag)
        carried = [
            model for model in bentoml.bentos.get(full).info.all_models if model.registry != HUB
        ]
        found = ((model.tag, Path(bentoml.models.get(model.tag).path)) for model in carried)
        return cls(full, path, tuple(sorted(found)))

    @property
    def layers(self) -> list[str]:
        """The models' directories below MODELS, in the order of their layers."""
        return [f"{tag.name}/{tag.version}" for tag, _ in self.models]


@contextmanager
def build_context(parts: BentoParts, dockerfile: str) -> Iterator[Path]:
    """A directory beside the store, gone afterwards, with CONTEXT, a Dockerfile beside that, and
    ENGINE_TEMPORARY for what the engine itself writes.

    Weights are linked where everybody may read them. Where only their owner may, they are cloned
    with the right mode, or copied on a disk that cannot clone. Errors: BuildError when the disk has
    no room or refuses, or a link leads out of the Bento or a model.
    """
    what = f"The build context of {parts.tag}"
    try:
        with workshop() as bench:
            context = bench / CONTEXT
            (bench / ENGINE_TEMPORARY).mkdir()
            (bench / "Dockerfile").write_text(dockerfile, encoding="utf-8")
            plan = list(_plan(parts))
            require_room(_bytes_to_copy([path for path, _ in plan], bench), bench, what)
            for source, inner in plan:
                _bring(source, context / inner)
            _write_build(parts.path, context / BUILD)
            for tag, _ in parts.models:
                pointer = context / SERVICE / MODELS / str(tag.name) / LATEST
                pointer.parent.mkdir(parents=True, exist_ok=True)
                pointer.write_text(str(tag.version), encoding="utf-8")
            _open_up(context)
            yield bench
    except OSError as error:
        raise explain(error, what) from error


def _plan(parts: BentoParts) -> Iterator[tuple[Path, Path]]:
    """Each file and its place in the context."""
    for tag, directory in parts.models:
        for path in _files(directory):
            inner = path.relative_to(directory)
            yield path, Path(MODELS, str(tag.name), str(tag.version)) / inner
    for path in _files(parts.path):
        inner = path.relative_to(parts.path)
        if inner.parts[:2] == ("src", WHEELS):
            # the service's layer has it, too, as the manifest lists it; this one is installed
            yield path, Path(BUILD, WHEELS, inner.name)
        yield path, Path(SERVICE) / inner


def _files(directory: Path) -> list[Path]:
    """The files below it; a link to one inside counts as that. Errors: BuildError for a link out of
    it: everybody who has the image could read what only this user may.
    """
    found, root = sorted(directory.rglob("*")), directory.resolve()
    for path in found:
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            raise BuildError(
                f"{path} is a link to {path.readlink()}, out of what the image is made of.",
                hint="Remove it, or build the Bento again.",
            )
    return [path for path in found if path.is_file()]


def _bytes_to_copy(sources: Sequence[Path], directory: Path) -> int:
    """An upper bound: a disk that clones needs none of it."""
    device = directory.stat().st_dev
    found = (source.stat() for source in sources)
    return sum(
        status.st_size
        for status in found
        if status.st_dev != device or not _is_open(status.st_mode)
    )


def _is_open(mode: int) -> bool:
    return bool(mode & stat.S_IROTH)


def _bring(source: Path, target: Path) -> None:
    """`source` at `target`, readable by everybody: the mode of a link is that of the file itself,
    which is not ours to change.
    """
    mode = source.stat().st_mode
    place(source, target, link=_is_open(mode))
    if target.stat().st_nlink == 1:
        target.chmod(_PROGRAM if mode & stat.S_IXUSR else _FILE)


def _write_build(bento: Path, folder: Path) -> None:
    """The lock in two files, openllm's own wheel and the rest, and the scripts."""
    lines = (bento / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    own = [line for line in lines if line.startswith(f"./{WHEELS}/")]
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in ((PACKAGES, [line for line in lines if line not in own]), (WHEEL, own)):
        (folder / name).write_text("\n".join([*part, ""]), encoding="utf-8")
    for script in SCRIPTS:
        source = Path(str(script.__file__))
        shutil.copyfile(source, folder / source.name)


def _open_up(context: Path) -> None:
    """Modes as in an image, whatever umask this process has."""
    for directory, _, names in os.walk(context):
        Path(directory).chmod(_DIRECTORY)
        for path in (Path(directory, name) for name in names):
            if path.stat().st_nlink == 1 and not _is_open(path.stat().st_mode):
                path.chmod(_FILE)
