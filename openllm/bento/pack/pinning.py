"""Weights that stay on the Hub: a Bento names their commit, and the service fetches exactly that
when it starts.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, WeightsError, option
from openllm.weights.checkpoint import read_config
from openllm.weights.code import refuse_code
from openllm.weights.hub import remote_sizes, snapshot
from openllm.weights.origin import Origin, origin

_COMMIT = re.compile(r"[0-9a-f]{40}")
# What is read of a model at build time; the weights are not among it.
_DESCRIPTION = ("*.json", "README.md", "LICENSE*", "LICENCE*", "NOTICE*")
_WEIGHTS = ".safetensors"
_SECOND = "consolidated"


@attrs.frozen
class Pinned:
    """A commit on the Hub, and the directory of what was read of it."""

    hub_id: str
    commit: str
    directory: Path
    size: int = 0  # bytes of the weights; 0 where the Hub did not say


def is_pinned(source: str, revision: str | None) -> bool:
    """Whether a spec names a Hub id by a whole commit: such a source is fetched at start, and no
    Bento carries it.
    """
    return (
        revision is not None
        and _COMMIT.fullmatch(revision) is not None
        and origin(source) is Origin.HUB
    )


def pin_weights(spec: LLMSpec) -> Pinned:
    """The commit that `spec` means today; configuration and licence are fetched, the weights are
    not.

    Errors: ConfigurationError for what is not on the Hub, WeightsError for what cannot be served
    from there.
    """
    if origin(spec.model_id) is not Origin.HUB:
        raise ConfigurationError(
            f"{spec.model_id} is not on the Hub, so its weights cannot stay there.",
            hint=f"Drop {option('weights', 'reference')}.",
        )
    directory = snapshot(spec.model_id, spec.revision, _DESCRIPTION)
    commit = directory.name
    if not _COMMIT.fullmatch(commit):
        raise WeightsError(
            f"The Hub names no commit of {spec.model_id}.",
            hint=f"Drop {option('weights', 'reference')}.",
        )
    read_config(directory)
    if not spec.trust_remote_code:
        refuse_code(directory)
    sizes = _sizes(spec.model_id, commit)
    weights = [size for name, size in sizes.items() if name.endswith(_WEIGHTS)]
    if sizes and not weights:
        raise WeightsError(
            f"{spec.model_id} has no safetensors weights at {commit[:12]}.",
            hint="Take another commit.",
        )
    return Pinned(spec.model_id, commit, directory, sum(weights))


def _sizes(hub_id: str, commit: str) -> dict[str, int]:
    """Bytes by file, without second copies in other programs' layouts; empty when the Hub does not
    say: what was read of the model may be all that is here.
    """
    try:
        found = remote_sizes(hub_id, commit)
    except WeightsError:
        return {}
    return {name: size for name, size in found.items() if not name.startswith(_SECOND)}
