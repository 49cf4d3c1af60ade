"""BentoML's model store as files, without importing bentoml: find a tag, list what is there and
who needs it, remove it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from openllm.config.names import split_tag
from openllm.errors import WeightsError
from openllm.weights.aliases import aliases_of, drop_alias, tag_of, write_whole
from openllm.weights.checkpoint import (
    directory_size,
    file_digests,
    join_digests,
    model_files,
    read_json,
)
from openllm.weights.listing import paths_below
from openllm.weights.scratch import HIDDEN, PREFIX, abandoned, scratch

MODELS = "models"  # the store's directory below BentoML's home
BENTOS = "bentos"
PULLED = "openllm-pulled"  # a file for each tag that somebody asked to have: its files' digests
STORED = "openllm-stored"  # the same for each tag that openllm has stored
TEMPORARY = "tmp"  # and its directory for unfinished work
MODEL_FILE, BENTO_FILE = "model.yaml", "bento.yaml"  # BentoML's, beside what they describe
LATEST = "latest"  # BentoML's, beside versions: the one that was stored last
# A line of YAML that means what it says, and a value that is the same as text: a digest,
# or a word that is none of those for true, false and nothing.
_PLAIN = re.compile(r"( *)([A-Za-z_][\w.-]*):(?: ([^#&*!|>%@`]*))?")
_WORD = re.compile(
    r"[0-9a-f]*[acdf][0-9a-f]*"
    r"|(?!(?:true|false|yes|no|on|off|null|y|n)\b)[A-Za-z][\w./-]*",
    re.IGNORECASE,
)


@attrs.frozen
class StoredModel:
    """One model, or adapter, in the store."""

    tag: str
    path: Path
    created: datetime | None
    metadata: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its files, which are looked at for this. Errors: WeightsError, OSError."""
        return directory_size(self.path)

    @property
    def ours(self) -> bool:
        """Whether openllm stored it: what it stores is named by its digest."""
        digest = str(self.metadata.get("digest") or "")
        return digest.startswith(self.tag.partition(":")[2]) and bool(digest)


def find_tag(tag: str, home: Path) -> Path:
    """The directory of `name:version`, or of an alias, in the store under `home`; the version
    "latest" is the one stored last.

    Errors: WeightsError when the store has no such tag.
    """
    name, version = split_tag(tag_of(tag, home) or tag) or ("", "")
    versions = home / MODELS / name
    if version == LATEST and (versions / LATEST).is_file():
        version = (versions / LATEST).read_text(encoding="utf-8").strip()
    path = versions / version
    if not name or not (path / MODEL_FILE).is_file():
        raise WeightsError(
            f"The model store has no {tag}.", hint="`openllm list` shows what it has."
        )
    return path


def list_store(home: Path) -> list[StoredModel]:
    """Everything in the store under `home`, by name, newest first."""
    found = [stored_model(path.parent) for path in (home / MODELS).glob(f"*/*/{MODEL_FILE}")]
    return sorted(
        found, key=lambda model: (model.tag.partition(":")[0], -_stamp(model.created), model.tag)
    )


def find_model(tag: str, home: Path) -> StoredModel:
    """One entry; the version "latest" is the one stored last. Errors: WeightsError."""
    return stored_model(find_tag(tag, home))


def stored_model(path: Path) -> StoredModel:
    """The entry of the store that lies at `path`; what cannot be read of it is left out."""
    info = _read_info(path / MODEL_FILE)
    return StoredModel(
        tag=f"{path.parent.name}:{path.name}",
        path=path,
        created=_time(info.get("creation_time")),
        metadata=dict(info.get("metadata") or {}),
    )


def is_stored(tag: str, home: Path) -> bool:
    """Whether the store has `name:version` (version may be latest)."""
    try:
        find_tag(tag, home)
    except WeightsError:
        return False
    return True


def own_bytes(model: StoredModel) -> int:
    """Bytes that removing it would free: those of files that nothing else links to. Blocks that a
    file system shares on its own (reflinks) are counted as its own.
    """
    found = ((model.path / inner).stat() for inner in model_files(model.path))
    return sum(stat.st_size for stat in found if stat.st_nlink == 1)


def freed_bytes(models: Iterable[StoredModel]) -> int:
    """Bytes that removing all of `models` would free: files that only they link to count once."""
    links: dict[tuple[int, int], list[int]] = {}
    for model in models:
        for inner in model_files(model.path):
            stat = (model.path / inner).stat()
            links.setdefault((stat.st_dev, stat.st_ino), [0, stat.st_nlink, stat.st_size])[0] += 1
    return sum(size for found, all_links, size in links.values() if found == all_links)


def needed_by(home: Path) -> Mapping[str, list[str]]:
    """The Bentos of the store that need a model, by the model's tag. Errors: WeightsError for a
    Bento that cannot be read: what it needs is then not known.
    """
    found: dict[str, list[str]] = {}
    for path in sorted((home / BENTOS).glob(f"*/*/{BENTO_FILE}")):
        for tag in dict.fromkeys(models_of(path)):
            found.setdefault(tag, []).append(f"{path.parent.parent.name}:{path.parent.name}")
    return found


def models_of(bento: Path) -> Iterator[str]:
    """Tags of the models that a bento.yaml names, of the Bento itself and of its services. Errors:
    WeightsError.
    """
    try:
        info = _yaml(bento.read_text(encoding="utf-8"))
        for part in (info, *(info.get("services") or ())):
            for item in part.get("models") or ():
                yield str(item["tag"] if isinstance(item, dict) else item)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        raise WeightsError(
            f"{bento} cannot be read, so what its Bento needs is not known.",
            hint=f"Remove that Bento: bentoml delete {bento.parent.parent.name}.",
        ) from None


def remember_pulled(tag: str, digests: Mapping[str, str], home: Path) -> None:
    """Somebody wants `tag` for itself, whether or not a Bento needs it; `digests` are those of its
    files. Errors: OSError.
    """
    _remember(home / PULLED / tag, digests)


def remember_stored(tag: str, digests: Mapping[str, str], home: Path) -> None:
    """What `tag` consists of, so that a change can be named. Errors: OSError."""
    _remember(home / STORED / tag, digests)


def _remember(path: Path, digests: Mapping[str, str]) -> None:
    if not path.exists():  # what was there first tells what was stored
        write_whole(path, json.dumps(dict(digests), indent=1))


def kept_digests(tag: str, home: Path) -> dict[str, Any] | None:
    """Those of the files of a stored model, as they were when it was stored; None: not known."""
    for kept in (STORED, PULLED):
        if (home / kept / tag).exists():
            return read_json(home / kept / tag)
    return None


def is_pulled(tag: str, home: Path) -> bool:
    return (home / PULLED / tag).exists()


def remove_model(model: StoredModel, home: Path) -> None:
    """Take it out of the store in one step, then delete it. Errors: OSError."""
    versions = model.path.parent
    with scratch(versions.parent, HIDDEN) as grave:
        model.path.rename(grave / "model")
        for kept in (PULLED, STORED):
            (home / kept / model.tag).unlink(missing_ok=True)
        for name in aliases_of(model.tag, home):
            drop_alias(name, home)
        _mend_latest(versions)


def leftovers(home: Path) -> list[Path]:
    """Directories of work on the store that was cut off. Errors: OSError."""
    return abandoned(home / TEMPORARY, PREFIX) + abandoned(home / MODELS, HIDDEN)


def damaged_files(
    model: StoredModel, home: Path, found: Mapping[str, str] | None = None
) -> list[str]:
    """Names of paths that are not as they were stored, sorted; the empty string where only the
    whole is known to differ. `found` are the digests that the files have now, where somebody has
    read them already. Errors: WeightsError where nothing is known of it, OSError.
    """
    own = {inner.as_posix() for inner in model_files(model.path)}
    found = file_digests(model.path) if found is None else found
    # openllm stores files alone: a link, or what Python and others leave beside them, is foreign
    foreign = [path for path in paths_below(model.path) if not _belongs(path, model.path, own)]
    damaged = {path.relative_to(model.path).as_posix() for path in foreign}
    if (kept := kept_digests(model.tag, home)) is not None:
        damaged |= {
            name for name in kept.keys() | found.keys() if kept.get(name) != found.get(name)
        }
    elif not model.ours:
        raise WeightsError(
            f"{model.tag} has no digests to check it against.", hint="Fetch it with openllm pull."
        )
    whole = join_digests(found) == model.metadata.get("digest") or not model.ours
    return sorted(damaged) or ([] if whole else [""])


def _belongs(path: Path, root: Path, own: set[str]) -> bool:
    """Whether a path below a stored model is one that was stored."""
    name = path.relative_to(root).as_posix()
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return False
    if path.is_dir():
        return any(inner.startswith(f"{name}/") for inner in own)
    return name in own or name == MODEL_FILE


def damaged_model(model: StoredModel, damaged: Iterable[str]) -> WeightsError:
    """What is said of a model whose files are not as they were stored."""
    what = ", ".join(name for name in damaged if name) or "its content"
    again = f"Fetch that again: openllm pull {model.tag}"
    return WeightsError(
        f"{model.tag} is not as it was stored: {what}.",
        hint=again if model.metadata.get("commit") else "Remove it (openllm rm) and pull it again.",
    )


def _mend_latest(versions: Path) -> None:
    """Let `latest` point at what was stored last of what is left."""
    latest = versions / LATEST
    left = sorted(
        (stored_model(path.parent) for path in versions.glob(f"*/{MODEL_FILE}")),
        key=lambda model: _stamp(model.created),
    )
    if left:
        latest.write_text(left[-1].path.name, encoding="utf-8")
        return
    latest.unlink(missing_ok=True)
    if not any(versions.iterdir()):
        versions.rmdir()


def _read_info(path: Path) -> dict[str, Any]:
    """What a model.yaml says; {} where it cannot be read. Lists must be fast, and as BentoML writes
    the file, it can be read without loading a YAML library.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    plain = _plain_info(text)
    if plain is not None:
        return plain
    try:
        info = _yaml(text)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _plain_info(text: str) -> dict[str, Any] | None:
    """Its time and metadata, where all lines that matter are `key: word`; None: YAML must tell."""
    found: dict[str, Any] = {"metadata": {}}
    section = ""
    for line in text.splitlines():
        match = _PLAIN.fullmatch(line)
        if match is None:
            return None
        indent, key, value = match.groups()
        if not indent:
            section = key
        if key == "creation_time" and not indent:
            found[key] = value.strip("'\"")
        elif section == "metadata" and value != "{}" and (indent or value):
            if indent != "  " or not _WORD.fullmatch(value):
                return None
            found["metadata"][key] = value
    return found


def _yaml(text: str) -> Any:
    """Errors: ValueError for what is no YAML."""
    import yaml

    try:
        # the parser in C where there is one: tenfold as fast
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _time(value: object) -> datetime | None:
    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _stamp(created: datetime | None) -> float:
    return created.timestamp() if created else 0.0
