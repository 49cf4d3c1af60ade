"""What a finished Bento says of itself: the terms of its models, the bill of materials, and digests
of everything.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from openllm.bento.contents.check import bento_tag, model_listing
from openllm.bento.contents.licence import licence_texts, model_licence
from openllm.bento.contents.manifest import Manifest, ModelEntry, own_listing
from openllm.bento.contents.sbom import write_sbom
from openllm.bento.contents.version import content_version, name_version
from openllm.bento.pack.names import tag_name
from openllm.bento.pack.pinning import Pinned
from openllm.bento.pack.sources import Packed
from openllm.bento.pack.store import Stored, hub_source
from openllm.weights.checkpoint import read_config
from openllm.weights.listing import paths_below

LICENCES = "licences"
REQUIREMENTS = "env/python/requirements.txt"


def complete_bento(bento: Path, packed: Sequence[Packed], inputs: str) -> str:
    """Add licences, bill and manifest to a Bento that nobody uses yet and that calls itself
    `version.UNKNOWN`; the version that it has now. `inputs` is the digest of what it was made of.
    Errors: OSError.
    """
    entries = []
    for entry, directory in _models(packed):
        entries.append(entry)
        name = tag_name(entry.source.get("hub_id", entry.tag.partition(":")[0]))
        for text in licence_texts(directory):
            target = bento / LICENCES / name / text.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(text, target)
    lines = (bento / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    write_sbom(bento, bento_tag(bento), lines, entries, inputs)
    _open_to_all(bento)
    version = content_version(bento, own_listing(bento), entries)
    name_version(bento, version)
    Manifest(own_listing(bento), tuple(entries), inputs).write(bento)
    return version


def _open_to_all(bento: Path) -> None:
    """Let everybody read what nobody but the owner may change, under whatever umask it was
    made.
    """
    for path in (bento, *paths_below(bento)):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)


def _models(packed: Sequence[Packed]) -> Iterator[tuple[ModelEntry, Path]]:
    """Every model once, and where it lies."""
    seen = set()
    for item in packed:
        if item.pinned:
            yield _pinned_entry(item.pinned, item.spec.family), item.pinned.directory
        for at, stored in enumerate(item.stored):
            if stored.tag not in seen:
                seen.add(stored.tag)
                yield _entry(item, at, stored), stored.path


def _pinned_entry(pinned: Pinned, family: str | None) -> ModelEntry:
    """Weights that are fetched at start: the commit stands for their content, and the Hub says how
    large they are.
    """
    return ModelEntry(
        tag=f"{pinned.hub_id}@{pinned.commit}",
        kind="weights",
        files={},
        size=pinned.size,
        licence=model_licence(pinned.directory, pinned.hub_id, family),
        source={"hub_id": pinned.hub_id, "commit": pinned.commit},
        inside=False,
        config=read_config(pinned.directory),
    )


def _entry(item: Packed, at: int, stored: Stored) -> ModelEntry:
    kinds = [] if item.pinned else ["weights"]
    kinds += ["draft"] if item.spec.speculative_model else []
    kind = kinds[at] if at < len(kinds) else "adapter"
    digests = stored.digests
    source = hub_source(stored.path)
    family = item.spec.family if kind == "weights" else None
    return ModelEntry(
        tag=stored.tag,
        kind=kind,
        files=dict(digests),
        size=sum((stored.path / name).stat().st_size for name in digests),
        licence=model_licence(stored.path, source.get("hub_id"), family),
        source=source,
        listing=model_listing(stored.path, digests),
    )
