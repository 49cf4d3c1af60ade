"""The list of all that a Bento consists of: every path with its type, mode and digest, its models
included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

import openllm
from openllm.errors import BuildError
from openllm.weights.listing import Listing

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # the name that OpenSSF's model signing gives it
MODELS = "models"  # a Bento's own store, which it has in an image
_HUB_MODELS = "hf-models"
FORMAT = 2  # 1 had no modes, and left out caches and what lies beside a model's own files
_TEXT = attrs.validators.instance_of(str)
_TEXTS = attrs.validators.deep_mapping(_TEXT, _TEXT)


@attrs.frozen
class ModelEntry:
    """One model or adapter: its tag in the store, or Hub id and commit where it is fetched at
    start.

    `files` are those of the model itself, `listing` has all that lies in its directory, where
    model.yaml counts without the lines that say when and by what it was written. `sizes` and
    `config`, the content of its config.json, are said where the model is not inside.
    """

    tag: str = attrs.field(validator=_TEXT)
    kind: str = attrs.field(validator=_TEXT)  # "weights", "draft" or "adapter"
    files: Mapping[str, str] = attrs.field(validator=_TEXTS)  # name -> SHA-256, hexadecimal
    size: int = attrs.field(validator=attrs.validators.instance_of(int))  # bytes; 0: not known
    licence: str | None = None
    source: Mapping[str, str] = attrs.field(factory=dict, validator=_TEXTS)  # hub_id, commit
    inside: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))
    listing: Listing = attrs.field(factory=Listing)
    sizes: Mapping[str, int] = attrs.field(factory=dict)  # name -> bytes
    config: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Manifest:
    """`listing` has the paths of the Bento itself; `inputs` is the digest of what it was made
    of.
    """

    listing: Listing
    models: tuple[ModelEntry, ...]
    inputs: str = attrs.field(default="", validator=_TEXT)
    openllm: str = attrs.field(default=openllm.__version__, validator=_TEXT)
    format: int = FORMAT

    @property
    def files(self) -> Mapping[str, str]:
        """The Bento's own files with their digests."""
        return self.listing.files

    def write(self, bento: Path) -> None:
        path = bento / MANIFEST
        path.write_text(
            json.dumps(attrs.asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        path.chmod(0o644)

    @classmethod
    def read(cls, bento: Path) -> Self:
        """Errors: BuildError when there is none, it is not one, or an earlier one."""
        name = f"{bento.parent.name}:{bento.name}"
        try:
            data: dict[str, Any] = json.loads((bento / MANIFEST).read_bytes())
            if data.get("format", 1) != FORMAT:
                raise BuildError(
                    f"{name} was built by another version of openllm: the list in {MANIFEST} is of"
                    f" format {data.get('format', 1)}, this one reads {FORMAT}.",
                    hint="Build it again.",
                )
            models = tuple(_entry(entry) for entry in data.pop("models"))
            return cls(models=models, listing=Listing(**data.pop("listing")), **data)
        except (FileNotFoundError, NotADirectoryError):
            raise BuildError(
                f"{name} has no {MANIFEST}.", hint="Only `openllm build` writes one."
            ) from None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise BuildError(f"{MANIFEST} of {name} is damaged.", hint="Build it again.") from None


def _entry(data: Mapping[str, Any]) -> ModelEntry:
    return ModelEntry(**{**data, "listing": Listing(**data["listing"])})


def own_listing(bento: Path, *, stored: bool = False) -> Listing:
    """All paths of a Bento but the manifest, its signature, and the models that an image has beside
    it: one that is `stored` in BentoML's store has none of its own. Errors: OSError.
    """
    listing = Listing.of(bento).without(MANIFEST, SIGNATURE, *(() if stored else (MODELS,)))
    # BentoML makes this directory in every image, mostly empty
    below = any(name.startswith(f"{_HUB_MODELS}/") for name in listing.modes)
    if below or not listing.modes.get(_HUB_MODELS, "").startswith("d"):
        return listing
    return listing.without(_HUB_MODELS)
