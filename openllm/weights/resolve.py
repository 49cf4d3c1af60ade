"""From a spec to a local, checked directory of weights and tokenizer: demo, directory, store tag or
Hub id.
"""

from __future__ import annotations

import importlib.resources
import logging
from pathlib import Path

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, WeightsError, option
from openllm.weights.checkpoint import (
    PICKLED,
    architecture,
    check_checkpoint,
    check_directory,
    content_digest,
    directory_size,
    iter_weight_files,
    pickled_files,
    read_config,
    refuse_pickled,
)
from openllm.weights.code import refuse_code
from openllm.weights.hub import (
    SAFE_FILES,
    Token,
    cached_snapshot,
    remote_files,
    snapshot,
)
from openllm.weights.modules import model_directory
from openllm.weights.origin import Origin, expand, origin
from openllm.weights.store import StoredModel, find_tag, list_store

__all__ = [
    "Origin",
    "StoredModel",
    "architecture",
    "content_digest",
    "directory_size",
    "iter_weight_files",
    "list_store",
    "origin",
    "read_config",
    "resolve_weights",
    "weights_present",
]

logger = logging.getLogger(__name__)


def resolve_weights(spec: LLMSpec, home: Path, token: Token = None) -> Path:
    """The local directory that `spec.model_id` stands for, checked; a Hub id may be downloaded,
    nothing else may.

    `home` is BentoML's, for store tags; `token` is for the Hub alone; None: the Hub client's own.
    Errors: ConfigurationError for an id
    that means nothing; WeightsError for what is missing, broken or unsafe.
    """
    kind = origin(spec.model_id)
    if kind is Origin.HUB:
        return _from_hub(spec, token)
    directory = local_directory(spec, kind, home)
    _check(directory, spec)
    return directory


def weights_present(spec: LLMSpec, home: Path) -> bool:
    """Whether `resolve_weights` would succeed without the network. Errors: ConfigurationError."""
    kind = origin(spec.model_id)
    try:
        directory = (
            cached_snapshot(spec.model_id, spec.revision, _wanted(spec))
            if kind is Origin.HUB
            else local_directory(spec, kind, home)
        )
        if directory is None:
            return False
        _check(directory, spec)
    except WeightsError:
        return False
    return True


def can_be_fetched(spec: LLMSpec) -> bool:
    """Whether the weights have a place on the network. Errors: ConfigurationError."""
    return origin(spec.model_id) is Origin.HUB


def local_directory(spec: LLMSpec, kind: Origin, home: Path) -> Path:
    """The directory of what is not on the network, not checked yet. Errors: ConfigurationError,
    WeightsError.
    """
    if kind is Origin.STORE:
        return find_tag(spec.model_id, home)
    if spec.revision is not None:
        raise ConfigurationError(
            "A revision goes with a Hub id only.",
            hint=f"Drop {option('revision')}.",
            param="revision",
        )
    if kind is Origin.DEMO:
        return Path(str(importlib.resources.files("openllm.demo")))
    directory = expand(spec.model_id)
    check_directory(directory)
    return directory.resolve()


def _check(directory: Path, spec: LLMSpec) -> None:
    """Errors: WeightsError for what cannot be loaded, or only by code that is not trusted."""
    inner = model_directory(directory)
    check_checkpoint(inner, trust_remote_code=spec.trust_remote_code)
    if not spec.trust_remote_code:
        refuse_code(inner)


def _wanted(spec: LLMSpec) -> tuple[str, ...]:
    """What is fetched of a repository: its code only when it is trusted."""
    return (*SAFE_FILES, "*.py") if spec.trust_remote_code else SAFE_FILES


def _from_hub(spec: LLMSpec, token: Token) -> Path:
    directory = snapshot(spec.model_id, spec.revision, _wanted(spec), token)
    if not any(iter_weight_files(model_directory(directory))):
        _refuse_or_fetch_pickled(spec, directory, token)
    _check(directory, spec)
    return directory


def _refuse_or_fetch_pickled(spec: LLMSpec, directory: Path, token: Token) -> None:
    """The commit has no safetensors: if it has pickled weights, they are refused by name, or
    fetched when trusted.
    """
    pickled = pickled_files(remote_files(spec.model_id, spec.revision, token))
    if pickled and not (directory / pickled[0]).is_file():
        refuse_pickled(f"{spec.model_id}/{pickled[0]}", spec.trust_remote_code)
        snapshot(
            spec.model_id,
            directory.name,
            (*_wanted(spec), *(f"*{suffix}" for suffix in PICKLED)),
            token,
        )
