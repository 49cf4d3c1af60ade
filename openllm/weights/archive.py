"""A stored model as one file, a tar archive, and back: nothing in an archive is believed before it
is checked.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from gzip import GzipFile
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

import attrs
import yaml

from openllm.config.sizes import readable_size
from openllm.errors import WeightsError
from openllm.weights.checkpoint import file_digests
from openllm.weights.store import MODEL_FILE, StoredModel, damaged_files, damaged_model

CONTENTS = ".openllm.json"  # the first member of an archive of ours: tag, metadata, files' digests
METADATA = ("hub_id", "commit", "kind")  # of what an archive says of a model, what is believed
_GZIPPED = (".gz", ".tgz", ".bentomodel")
_LONGEST_CONTENTS = 64 * 2**20  # bytes
_MOST_FILES = 100_000
_CHUNK = 4 * 2**20  # bytes
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma"}
_LONGEST_MAGIC = max(map(len, _MAGIC))  # bytes
_RESERVE = 64 * 2**20  # bytes that an archive without a list of contents leaves free on the disk


@attrs.frozen
class Extracted:
    """What was in an archive: the model's name, where it says one, its metadata and the SHA-256 of
    its files, which are now in a directory.
    """

    name: str | None
    metadata: Mapping[str, str]
    digests: Mapping[str, str]


def write_archive(model: StoredModel, home: Path, target: IO[bytes], name: str) -> None:
    """Write `model` to `target`, compressed where `name` ends so.

    The same stored model is the same archive, byte by byte. Errors: WeightsError for a model that
    is not as it was stored, OSError.
    """
    digests = file_digests(model.path)
    if model.ours and (damaged := damaged_files(model, home, digests)):
        raise damaged_model(model, damaged)
    files = {
        inner: {"size": (model.path / inner).stat().st_size, "sha256": digest}
        for inner, digest in digests.items()
    }
    contents = {"tag": model.tag, "metadata": _believed(model.metadata), "files": files}
    text = json.dumps(contents, indent=1, sort_keys=True).encode()
    with _compressed(target, name) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        archive.addfile(_member(CONTENTS, len(text)), io.BytesIO(text))
        if (model.path / MODEL_FILE).is_file():  # so that BentoML reads the archive, too
            _add(archive, model.path, MODEL_FILE)
        for inner in files:
            _add(archive, model.path, inner)


def extract_archive(source: IO[bytes], into: Path) -> Extracted:
    """Write the model's files in `source` into `into`, an empty directory. Ours, BentoML's own
    export, or a plain tar of a model's directory; gzip, bzip2 and xz are recognised.

    Only regular files with names below the directory are written; of an archive of ours each has
    the size and digest that its list of contents says. Of all, the end is there, and the checksum
    of the compression fits. Errors: WeightsError, OSError.
    """
    try:
        with (
            _plain(source) as plain,
            tarfile.open(fileobj=plain, mode="r|", tarinfo=_Header) as archive,
        ):
            found = _extract(archive, into)
            while plain.read(_CHUNK):  # checksums stand behind what they are of
                pass
            return found
    except (tarfile.TarError, EOFError, ValueError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; gzip's and bzip2's have no number
        raise WeightsError(
            f"It is no whole archive: {str(error) or 'it is cut short'}.", hint="Export it again."
        ) from None


class _Header(tarfile.TarInfo):
    """A header of an archive that must have an end. tarfile takes a block that is no header, or
    none at all, for the end, too.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise  # a block of zeros
            raise tarfile.ReadError(str(error)) from None


@contextmanager
def _plain(source: IO[bytes]) -> Iterator[IO[bytes]]:
    """`source` without its compression, which its first bytes tell. tarfile's own way of reading a
    stream leaves gzip's checksum alone.
    """
    buffered = io.BufferedReader(source)  # type: ignore[type-var]
    try:
        begins = buffered.peek(_LONGEST_MAGIC)
        name = next((name for magic, name in _MAGIC.items() if begins.startswith(magic)), None)
        if name is None:
            yield buffered
            return
        try:
            module = importlib.import_module(name)  # not in every Python
        except ImportError as error:
            raise tarfile.CompressionError(str(error)) from None
        damaged: type[Exception] = getattr(module, "LZMAError", zlib.error)
        try:
            with module.open(buffered) as plain:
                yield plain
        except damaged as error:
            raise tarfile.ReadError(str(error)) from None
    finally:
        buffered.detach()


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not."""
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except (OSError, EOFError, ValueError):
        return False


def _extract(archive: tarfile.TarFile, into: Path) -> Extracted:
    members = _files_of(archive)
    first = next(members, None)
    if first is not None and first[0] == CONTENTS:
        return _extract_ours(archive, first[1], members, into)
    said: dict[str, Any] = {}
    digests: dict[str, str] = {}
    while first is not None:
        name, member = first
        if name.rpartition("/")[2] == MODEL_FILE and not said:
            said = _read_model_file(archive, member)
        elif not _is_hidden(name):
            _require_room(member.size, into, _RESERVE)
            digests[name] = _write(archive, member, into / name)
        first = next(members, None)
    if not digests:
        raise WeightsError("There is no file in the archive.", hint="Export it again.")
    called = said.get("name")
    return Extracted(str(called) if called else None, _believed(said.get("metadata")), digests)


def _extract_ours(
    archive: tarfile.TarFile,
    first: tarfile.TarInfo,
    members: Iterator[tuple[str, tarfile.TarInfo]],
    into: Path,
) -> Extracted:
    contents = json.loads(_read(archive, first))
    try:
        files = {
            str(key): (int(f["size"]), str(f["sha256"])) for key, f in contents["files"].items()
        }
        tag, metadata = str(contents["tag"]), _believed(contents.get("metadata"))
    except (AttributeError, KeyError, TypeError):
        raise WeightsError(
            "The archive's list of contents cannot be read.", hint="Export it again."
        ) from None
    _require_room(sum(size for size, _ in files.values()), into, 0)
    digests = {}
    for name, member in members:
        if name == MODEL_FILE:
            continue
        size, digest = files.get(name, (-1, ""))
        if member.size != size or _write(archive, member, into / name) != digest:
            raise WeightsError(
                f"{name} in the archive is not what its list of contents says.",
                hint="Fetch the archive again, or export it again.",
            )
        digests[name] = digest
    if missing := sorted(files.keys() - digests.keys()):
        raise WeightsError(f"The archive lacks {missing[0]}.", hint="Export it again.")
    return Extracted(tag.partition(":")[0], metadata, digests)


def _files_of(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The regular files, by their checked names. Errors: WeightsError for anything else."""
    seen: set[str] = set()
    for member in archive:
        if member.isdir():
            continue
        name = PurePosixPath(member.name).as_posix()
        inside = not name.startswith("/") and ".." not in name.split("/") and "\\" not in name
        if not member.isfile() or not inside or name in ("", "."):
            raise WeightsError(
                f"The archive holds {member.name[:80]!r}, which is no plain file below its"
                " directory.",
                hint="Nothing was kept; ask whoever made it for an archive of plain files.",
            )
        if name in seen or len(seen) >= _MOST_FILES:
            raise WeightsError(
                f"The archive holds {name[:80]!r} twice, or more than {_MOST_FILES} files.",
                hint="Export it again.",
            )
        seen.add(name)
        yield name, member


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    """One member as a file of its own; its SHA-256. Errors: WeightsError, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reader, digest = archive.extractfile(member), hashlib.sha256()
    if reader is None:
        raise WeightsError(f"{member.name} is no file.", hint="Export it again.")
    with reader, path.open("xb") as file:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(member)
    if reader is None or member.size > _LONGEST_CONTENTS:
        raise WeightsError(f"{member.name} is too long.", hint="Export it again.")
    with reader:
        return reader.read()


def _read_model_file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    try:
        said = yaml.safe_load(_read(archive, member))
    except yaml.YAMLError:
        return {}
    return said if isinstance(said, dict) else {}


def _believed(metadata: object) -> dict[str, str]:
    found = metadata if isinstance(metadata, Mapping) else {}
    return {key: str(found[key]) for key in METADATA if isinstance(found.get(key), str)}


def _require_room(size: int, into: Path, reserve: int) -> None:
    free = shutil.disk_usage(into).free
    if size + reserve > free:
        raise WeightsError(
            f"The archive needs {readable_size(size)} on the disk, {readable_size(free)} are free.",
            hint="Free some space, or point BENTOML_HOME at another disk.",
        )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _add(archive: tarfile.TarFile, directory: Path, inner: str) -> None:
    path = directory / inner
    with path.open("rb") as file:
        archive.addfile(_member(inner, os.fstat(file.fileno()).st_size), file)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """No times, owners or modes of this machine."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


@contextmanager
def _compressed(target: IO[bytes], name: str) -> Iterator[IO[bytes] | GzipFile]:
    if not name.endswith(_GZIPPED):
        yield target
        return
    with GzipFile(filename="", mode="wb", compresslevel=1, fileobj=target, mtime=0) as packed:
        yield packed
