"""What a model is made of, told from its config.json and the headers of its safetensors, of which a
few KB are read over the network where no copy is here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import WeightsError
from openllm.weights.checkpoint import (
    CONFIG,
    INDEX,
    WHOLE,
    TensorInfo,
    iter_weight_files,
    parse_header,
    read_config,
    read_header,
)
from openllm.weights.hub import Token, cached_snapshot, remote_sizes
from openllm.weights.modules import model_directory
from openllm.weights.origin import Origin, origin
from openllm.weights.ranges import Repository
from openllm.weights.resolve import local_directory

MOST_READ = 900_000  # bytes of one model over the network: its plan stays below 1 MB
_FIRST = 48 * 1024  # of a file whose header may be of any length
_LEAST_INDEX = 16 * 1024  # of an index: what it says of the whole stands at its beginning
_AT_ONCE = 8  # requests
_ENTRY = 90  # bytes of one tensor in a header, beside its name: measured on common checkpoints
_TOTAL = re.compile(rb'"total_size"\s*:\s*([0-9]{1,18})')


@attrs.frozen
class Outline:
    """Configuration and tensors of one model. `tensors` is empty where their headers alone are too
    much to read (mixtures of many experts): then only `size` is known.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    size: int  # bytes of the weights as they are stored
    fetched: int = 0  # bytes read over the network for this
    commit: str | None = None


def outline(spec: LLMSpec, home: Path, token: Token = None) -> Outline:
    """The outline of `spec.model_id`; nothing is downloaded into a cache. `home` is BentoML's.

    Errors: ConfigurationError for an id that means nothing; WeightsError for what is not there or
    cannot be read.
    """
    kind = origin(spec.model_id)
    directory = (
        cached_snapshot(spec.model_id, spec.revision)
        if kind is Origin.HUB
        else local_directory(spec, kind, home)
    )
    if directory is not None and any(iter_weight_files(model_directory(directory))):
        return outline_of(model_directory(directory))
    if kind is Origin.HUB:
        return _over_network(Repository(spec.model_id, spec.revision, token))
    raise WeightsError(
        f"{directory} has no safetensors weights.",
        hint="Fetch or convert the model to safetensors.",
    )


def outline_of(directory: Path) -> Outline:
    """Of a model's local directory. Errors: WeightsError."""
    tensors: dict[str, TensorInfo] = {}
    for path in iter_weight_files(directory):
        tensors |= read_header(path)
    return Outline(read_config(directory), tensors, _stored(tensors))


def outline_of_size(directory: Path, size: int) -> Outline:
    """Of a model's local directory, or of one that holds no more than its description: `size` are
    the bytes of weights whose headers cannot be read there. Errors: WeightsError.
    """
    config = read_config(directory)
    if not any(iter_weight_files(directory)):
        return Outline(config, {}, size)
    return outline_of(directory)


def _over_network(repository: Repository) -> Outline:
    """Errors: WeightsError."""
    found = repository.head(CONFIG, _FIRST * 4)
    if found is None:
        raise WeightsError(
            f"{repository.name} has no config.json on the Hub.",
            hint="Name a repository of a model in transformers' format.",
        )
    config = _object(found.data, f"{repository.name}/{CONFIG}")
    if found.commit is not None:
        repository.revision = found.commit  # one commit, whatever is pushed meanwhile
    whole = repository.head(WHOLE, _FIRST)
    if whole is not None:
        tensors = _header(repository, WHOLE, whole.data)
        size = _stored(tensors)
    else:
        tensors, size = _shards(repository)
    return Outline(config, tensors, size, repository.fetched, found.commit)


def _shards(repository: Repository) -> tuple[dict[str, TensorInfo], int]:
    """The tensors of a model that is cut into several files, and their bytes; no tensors where
    their headers are too much to read.
    """
    index = repository.head(INDEX, _LEAST_INDEX)
    if index is None:
        raise WeightsError(
            f"{repository.name} has no safetensors weights on the Hub.",
            hint="Take a repository that has been converted to safetensors.",
        )
    if index.size is not None and index.size > len(index.data):
        # Names stand in the headers once more, with types and shapes beside them.
        if repository.fetched + 3 * index.size > MOST_READ:
            return {}, _total(repository, index.data)
        index = repository.head(INDEX, index.size) or index
    names = _object(index.data, f"{repository.name}/{INDEX}").get("weight_map")
    if not isinstance(names, Mapping):
        raise WeightsError(f"{repository.name}/{INDEX} has no weight_map.", hint="Report it there.")
    lengths = _header_lengths(names)
    if repository.fetched + sum(lengths.values()) > MOST_READ:
        return {}, _total(repository, index.data)
    tensors: dict[str, TensorInfo] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for some in pool.map(lambda item: _shard(repository, *item), lengths.items()):
            tensors |= some
    return tensors, _stored(tensors)


def _header_lengths(names: Mapping[str, Any]) -> dict[str, int]:
    """About how long the header of each file is, by what tensors the index says it has."""
    lengths: dict[str, int] = {}
    for tensor, file in names.items():
        lengths[str(file)] = lengths.get(str(file), 256) + len(tensor) + _ENTRY
    return dict(sorted(lengths.items()))


def _shard(repository: Repository, file: str, length: int) -> dict[str, TensorInfo]:
    found = repository.head(file, length)
    if found is None:
        raise WeightsError(
            f"{repository.name} lacks {file}, which its index names.", hint="Report it there."
        )
    return _header(repository, file, found.data)


def _header(repository: Repository, file: str, begun: bytes) -> dict[str, TensorInfo]:
    """The header of a file whose beginning was read; the rest of it is asked for where it is
    longer. Errors: WeightsError.
    """
    length = 8 + int.from_bytes(begun[:8], "little")
    if length > len(begun):
        if repository.fetched + length > 2 * MOST_READ:
            raise WeightsError(
                f"{repository.name}/{file} is no safetensors file, or its header has"
                f" {length} bytes.",
                hint="Fetch the model first: openllm pull.",
            )
        whole = repository.head(file, length)
        begun = whole.data if whole is not None else begun
    try:
        return parse_header(begun)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{repository.name}/{file} is no safetensors file: {error}.", hint="Report it there."
        ) from error


def _total(repository: Repository, index: bytes) -> int:
    """Bytes of all weights: as the index says at its beginning, else the sum of the files."""
    if (said := _TOTAL.search(index)) and int(said[1]):
        return int(said[1])
    sizes = remote_sizes(repository.name, repository.revision, repository.token)
    return sum(size for name, size in sizes.items() if name.endswith(".safetensors"))


def _stored(tensors: Mapping[str, TensorInfo]) -> int:
    return sum(info.span[1] - info.span[0] for info in tensors.values())


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{name} is not readable JSON: {error}.", hint="Report it there."
        ) from error
    if not isinstance(value, dict):
        raise WeightsError(f"{name} holds no JSON object.", hint="Report it there.")
    return value
