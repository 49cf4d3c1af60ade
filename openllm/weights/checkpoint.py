"""A model directory as it lies on the disk: its configuration, its weight files, its digest, and
whether it is safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.errors import WeightsError, option
from openllm.weights.links import ENVIRONMENT, check_links
from openllm.weights.plausible import check_sizes, check_types

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION = "generation_config.json"
# Formats that run code when they are read, and formats that no engine of ours reads.
PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
FOREIGN = frozenset({".h5", ".msgpack", ".onnx", ".ot", ".gguf", ".tflite"})
_SKIPPED = frozenset({"__pycache__", "model.yaml"})  # model.yaml is BentoML's, not the model's
# Pickled files that trainers leave beside weights; they are no weights, and nothing reads them.
_BYSTANDERS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "trainer_state")
# What a whole checkpoint is cut into, and Mistral's copy of it.
_COPIES = re.compile(r"(model-\d+-of-\d+|model|consolidated.*)\.safetensors$")
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


@attrs.frozen
class TensorInfo:
    """What a safetensors header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int] = (0, 0)  # where its bytes begin and end in the file


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of a model directory. Errors: WeightsError when it is missing or unreadable."""
    path = directory / CONFIG
    if not path.is_file():
        if (directory / ADAPTER_CONFIG).is_file():
            raise WeightsError(
                f"{directory} holds a LoRA adapter, no model.",
                hint=f"Pass it with {option('adapters')}.",
            )
        raise WeightsError(
            f"{directory} has no config.json.", hint="Name a Hugging Face model directory."
        )
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model. Errors: WeightsError that names the file."""
    value = read_value(path)
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds no JSON object.", hint="Fetch it again.")
    return value


def read_value(path: Path) -> Any:
    """What a file of a model says in JSON. Errors: WeightsError that names the file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path} is not readable JSON: {error}.", hint="Fetch it again."
        ) from error


def architecture(directory: Path) -> str | None:
    """The first of config.json's `architectures`; None when it names none. Errors: those of
    `read_config`.
    """
    names = read_config(directory).get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def check_checkpoint(directory: Path, *, trust_remote_code: bool = False) -> None:
    """Refuse a directory that no engine can load. Errors: WeightsError."""
    check_directory(directory)
    check_links(directory)
    config = read_config(directory)
    if (directory / GENERATION).is_file():
        read_json(directory / GENERATION)
    files = sorted(iter_weight_files(directory))
    if not files:
        _explain_no_weights(directory, trust_remote_code)
    _check_shards(directory)
    check_types(directory / CONFIG, config)
    check_sizes(directory / CONFIG, config, sum(len(read_header(path)) for path in files))


def check_directory(directory: Path) -> None:
    if directory.is_file():
        raise WeightsError(
            f"{directory} is a file.", hint="Name the directory that holds the model's files."
        )
    if not directory.is_dir():
        raise WeightsError(f"There is no directory {directory}.", hint="Check the path.")


def iter_weight_files(directory: Path) -> Iterator[Path]:
    """The safetensors files of a model or adapter directory itself that are read, in no order.

    As transformers has it: a whole file goes before an index, and what an index does not name is
    left alone. Nothing in subdirectories is.
    """
    unread = unread_weights(directory)
    return (
        path
        for path in directory.glob("*.safetensors")
        if path.is_file() and path.name not in unread
    )


def unread_weights(directory: Path) -> frozenset[str]:
    """Weights that lie beside those that are read, and hold the same once more. Errors:
    WeightsError.
    """
    if (directory / WHOLE).is_file():
        read = {WHOLE}
    elif (directory / INDEX).is_file():
        read = set(_shards(directory / INDEX))
    else:
        return frozenset()
    return frozenset(
        path.name
        for path in directory.glob("*.safetensors")
        if path.name not in read and _COPIES.match(path.name)
    )


def _shards(index: Path) -> list[str]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsError(f"{index} has no weight_map.", hint="Fetch it again.")
    return sorted({str(name) for name in shards.values()})


def pickled_files(names: Iterator[str] | list[str]) -> list[str]:
    """Those of `names` that are weights in a format that runs code when read, sorted."""
    return sorted(
        name
        for name in names
        if Path(name).suffix in PICKLED and not Path(name).name.startswith(_BYSTANDERS)
    )


def _explain_no_weights(directory: Path, trust_remote_code: bool) -> None:
    names = [path.name for path in directory.iterdir() if path.is_file()]
    if pickled := pickled_files(names):
        refuse_pickled(str(directory / pickled[0]), trust_remote_code)
        return
    if foreign := sorted(name for name in names if Path(name).suffix in FOREIGN):
        raise WeightsError(
            f"{directory} has no safetensors weights, only {foreign[0]}.",
            hint="Fetch or convert the model to safetensors.",
        )
    raise WeightsError(
        f"{directory} has no weights.", hint="A *.safetensors file is expected beside config.json."
    )


def refuse_pickled(name: str, trust_remote_code: bool) -> None:
    if not trust_remote_code:
        raise WeightsError(
            f"{name} is a pickled file, which can run code when it is read; there are no"
            " safetensors weights.",
            hint=f"Convert it to safetensors, or pass {option('trust_remote_code')} if you trust"
            " its authors.",
        )


def _check_shards(directory: Path) -> None:
    index = directory / INDEX
    if not index.is_file():
        return
    named = _shards(index)
    if (directory / WHOLE).is_file():
        return
    missing = [name for name in named if not (directory / name).is_file()]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(named)} weight files are missing in {directory}, the first is"
            f" {missing[0]}.",
            hint="Finish the download.",
        )


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Names, types and shapes of a safetensors file's tensors; the data is not read.

    The format is safetensors' own README. Errors: WeightsError for a file that is cut short or of
    another format.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(8)
            length = int.from_bytes(begin, "little")
            if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
                raise ValueError("its header is cut short")
            found = parse_header(begin + file.read(length))
        end = max((info.span[1] for info in found.values()), default=8 + length)
        if size < end:
            raise ValueError(f"it has {size:,} bytes of {end:,}")
        return found
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise WeightsError(
            f"{path} is no whole safetensors file: {error}.", hint="Fetch it again."
        ) from error


def parse_header(begun: bytes) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file that begins with `begun`, all of its header at least, by
    name. Errors: ValueError, LookupError, TypeError, AttributeError, RecursionError for what is
    none.
    """
    start = 8 + int.from_bytes(begun[:8], "little")  # of the data
    if len(begun) < start:
        raise ValueError("its header is cut short")
    found = {}
    for name, entry in json.loads(begun[8:start]).items():
        if name != "__metadata__":
            first, last = map(int, entry["data_offsets"])
            span = (start + first, start + last)
            found[name] = TensorInfo(str(entry["dtype"]), tuple(entry["shape"]), span)
    return found


def tensor_shapes(directory: Path) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all tensors in a directory's safetensors files, by name, from the headers. Errors:
    WeightsError.
    """
    return {
        name: info.shape
        for path in iter_weight_files(directory)
        for name, info in read_header(path).items()
    }


def model_files(directory: Path) -> Iterator[Path]:
    """What of `directory` belongs to the model, relative to it, sorted.

    Hidden files do not, nor BentoML's model.yaml, nor a virtual environment, nor weights in other
    formats where there are safetensors, nor a second copy of those.
    """
    inner = sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    safe = any(path.suffix == ".safetensors" for path in inner)
    unread = unread_weights(directory)
    environments = {path.parent for path in inner if path.name == ENVIRONMENT} - {Path()}
    for path in inner:
        hidden = any(part.startswith(".") or part in _SKIPPED for part in path.parts)
        if (
            not hidden
            and environments.isdisjoint(path.parents)
            and path.as_posix() not in unread
            and not (safe and path.suffix in PICKLED | FOREIGN)
        ):
            yield path


def content_digest(directory: Path) -> str:
    """SHA-256 (hexadecimal) over names and contents of the model's files; times, owners and links
    do not matter.
    """
    return join_digests(file_digests(directory))


def file_digests(directory: Path) -> dict[str, str]:
    """SHA-256 (hexadecimal) of each of the model's files, by its name in `directory`, sorted."""
    return {inner.as_posix(): file_digest(directory / inner) for inner in model_files(directory)}


def join_digests(digests: Mapping[str, str]) -> str:
    """The digest of a whole model from those of its files."""
    import hashlib  # OpenSSL is slow to load, and listing a store needs none of it

    whole = hashlib.sha256()
    for name, digest in digests.items():
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file. Errors: OSError."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_size(directory: Path) -> int:
    """Bytes of the safetensors files that lie in a directory; 0 where they cannot be read."""
    try:
        return sum(path.stat().st_size for path in iter_weight_files(directory))
    except OSError:
        return 0


def directory_size(directory: Path) -> int:
    """Bytes of the model's files, links followed."""
    return sum((directory / inner).stat().st_size for inner in model_files(directory))
