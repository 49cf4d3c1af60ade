"""LoRA adapters before they reach an engine: found by name, and checked to be safe and to fit the
base model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from openllm.config.names import is_tag
from openllm.config.spec import AdapterSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    Forbidden,
    InvalidRequest,
    WeightsError,
)
from openllm.weights.checkpoint import (
    ADAPTER_CONFIG,
    check_directory,
    content_digest,
    pickled_files,
    read_config,
    read_header,
    read_json,
    tensor_shapes,
)
from openllm.weights.hub import Token, remote_files, snapshot
from openllm.weights.origin import Origin, expand, origin
from openllm.weights.store import find_tag

__all__ = [
    "CheckedAdapter",
    "check_adapter",
    "check_mountable",
    "resolve_adapter",
    "resolve_under_root",
]

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "README.md", "LICENSE*", "NOTICE*")
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight"
)
# What peft can add to plain LoRA: it changes more than pairs of matrices beside linear layers, so
# no batch can mix it.
_UNSUPPORTED = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "lora_bias": "a bias in its matrices",
    "modules_to_save": "whole modules beside its matrices (modules_to_save)",
    "layer_replication": "replicated layers",
    "target_parameters": "single parameters (target_parameters)",
    "trainable_token_indices": "trained tokens",
    "alora_invocation_tokens": "activation by tokens (aLoRA)",
    "arrow_config": "Arrow routing",
    "auto_map": "code of its own",
}
# Initialisations that also change the base model's weights, so that the file alone is not the
# adapter.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@attrs.frozen
class CheckedAdapter:
    """An adapter that fits its base model and that every LoRA engine can mount."""

    path: Path
    rank: int  # the largest over its layers
    targets: tuple[str, ...]  # last names of the layers it changes, sorted: "q_proj", ...
    base_model: str | None  # what it says it was trained on
    uniform: bool  # one rank and one alpha for all layers; vLLM needs that

    @property
    def digest(self) -> str:
        """SHA-256 of its files; read each time."""
        return content_digest(self.path)


def resolve_adapter(adapter: AdapterSpec, token: Token = None) -> Path:
    """The local directory of an adapter: as it is, from the store, or downloaded. `check_adapter`
    comes next.

    Errors: ConfigurationError for a source that means nothing, WeightsError when it is not there.
    """
    kind = origin(adapter.source)
    if kind is Origin.HUB:
        _refuse_bare_tag(adapter)
        return _from_hub(adapter, token)
    if adapter.revision is not None:
        raise ConfigurationError(
            "A revision goes with a Hub id only.", hint=f"Drop @{adapter.revision}."
        )
    if kind is Origin.DEMO:
        raise ConfigurationError(
            "demo is a model, no adapter.", hint="Name an adapter's directory or Hub id."
        )
    directory = find_tag(adapter.source) if kind is Origin.STORE else expand(adapter.source)
    check_directory(directory)
    return directory.resolve()


def _refuse_bare_tag(adapter: AdapterSpec) -> None:
    """`name:version` reads as SOURCE:NAME; if the store has that tag it was meant as one."""
    tag = f"{adapter.source}:{adapter.name}"
    if not is_tag(tag):
        return
    with contextlib.suppress(WeightsError):
        find_tag(tag)
        raise ConfigurationError(
            f"{tag} means {adapter.source} by the name of {adapter.name}.",
            hint=f"Write {tag}:NAME.",
        )


def _from_hub(adapter: AdapterSpec, token: Token) -> Path:
    directory = snapshot(adapter.source, adapter.revision, _FILES, token)
    missing = not (directory / ADAPTER_WEIGHTS).is_file()
    if missing and (
        pickled := pickled_files(remote_files(adapter.source, adapter.revision, token))
    ):
        raise _pickled(f"{adapter.source}/{pickled[0]}")
    return directory


def check_adapter(
    path: Path, base: Path, max_rank: int | None = None, *, uniform: bool = False
) -> CheckedAdapter:
    """Check the adapter in `path` against the model in `base`; only headers are read, so it costs
    milliseconds.

    Errors: WeightsError, one line for each reason: not LoRA, a variant no engine can mix in a
    batch, pickled or broken files, a rank above `max_rank`, layers the base model lacks, shapes
    that do not fit; with `uniform`, layers that differ in rank or alpha.
    """
    check_directory(path)
    config = _read_adapter_config(path)
    pairs = _pairs(path)
    rank = max(rank for rank, _, _ in pairs.values())
    if max_rank is not None and rank > max_rank:
        raise WeightsError(
            f"{path} has rank {rank}, above the limit of {max_rank}.", hint="Raise --max-lora-rank."
        )
    _check_fit(path, pairs, base, bool(config.get("fan_in_fan_out")))
    same = not config.get("rank_pattern") and not config.get("alpha_pattern")
    if uniform and not same:
        raise WeightsError(
            f"{path} sets ranks or alphas layer by layer (rank_pattern, alpha_pattern); this engine"
            " knows one for all.",
            hint="Use the pytorch backend, or train it with one rank and one alpha.",
        )
    named = config.get("base_model_name_or_path")
    return CheckedAdapter(
        path=path,
        rank=rank,
        targets=tuple(sorted({module.rpartition(".")[2] for module in pairs})),
        base_model=named if isinstance(named, str) and named else None,
        uniform=same,
    )


def _read_adapter_config(path: Path) -> Mapping[str, Any]:
    if not (path / ADAPTER_CONFIG).is_file():
        state = (
            "holds a model, no adapter"
            if (path / "config.json").is_file()
            else f"has no {ADAPTER_CONFIG}"
        )
        raise WeightsError(
            f"{path} {state}.", hint="Name a directory that peft's save_pretrained() wrote."
        )
    config = read_json(path / ADAPTER_CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise WeightsError(
            f"{path} is an adapter of type {kind}; only LORA can be mounted.",
            hint="Train a LoRA adapter.",
        )
    found = [text for field, text in _UNSUPPORTED.items() if config.get(field)]
    if config.get("bias", "none") != "none":
        found.append(f"trained biases (bias={config['bias']})")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGES_BASE):
        found.append(f"changed base weights (init_lora_weights={start})")
    if found:
        raise WeightsError(
            f"{path} uses {found[0]}, which no engine can mount.",
            hint="Train a plain LoRA adapter.",
        )
    return config


def _pairs(path: Path) -> dict[str, tuple[int, int, int]]:
    """(rank, in, out) by module path, from the header of the weights."""
    weights = path / ADAPTER_WEIGHTS
    if not weights.is_file():
        if pickled := pickled_files([file.name for file in path.iterdir()]):
            raise _pickled(str(path / pickled[0]))
        raise WeightsError(
            f"{path} has no {ADAPTER_WEIGHTS}.", hint="Save the adapter again with peft."
        )
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, info in read_header(weights).items():
        match = _KEY.fullmatch(key)
        if match is None or len(info.shape) != 2:
            raise WeightsError(
                f"{weights} holds {key}, which is no LoRA matrix of a linear layer.",
                hint="Train linear layers only; save with save_embedding_layers=False.",
            )
        sides.setdefault(match["module"], {})[match["side"]] = info.shape
    if not sides:
        raise WeightsError(
            f"{weights} holds no LoRA matrices.", hint="Save the adapter again with peft."
        )
    return {module: _pair(weights, module, shapes) for module, shapes in sides.items()}


def _pair(
    weights: Path, module: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, int, int]:
    if len(shapes) < 2 or shapes["A"][0] != shapes["B"][1]:
        raise WeightsError(
            f"{weights} has no whole pair of matrices for {module}.",
            hint="Save it again with peft.",
        )
    return shapes["A"][0], shapes["A"][1], shapes["B"][0]


def _check_fit(
    path: Path, pairs: Mapping[str, tuple[int, int, int]], base: Path, transposed: bool
) -> None:
    """Compare with the base model's headers; where it is quantized, only the names of layers can be
    compared.
    """
    config = read_config(base)
    shapes = tensor_shapes(base)
    if not shapes:
        return  # a trusted pickled base: the engine will compare
    layers = _layers(shapes, config)
    for module, (_, width_in, width_out) in pairs.items():
        shape = next((layers[name] for name in _spellings(module) if name in layers), None)
        if shape is None:
            raise WeightsError(
                f"{path} changes {module}, which the base model does not have.",
                hint=_other_base(path),
            )
        wanted = (width_in, width_out) if transposed else (width_out, width_in)
        if "quantization_config" not in config and shape != wanted:
            raise WeightsError(
                f"{path} fits a {module} of shape {list(wanted)}; the base model's is"
                f" {list(shape)}.",
                hint=_other_base(path),
            )


def _layers(
    shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the base model's layers by module path; a tied output layer has the embedding's
    shape.
    """
    layers = {
        name.rpartition(".")[0]: shape
        for name, shape in shapes.items()
        if not name.endswith(".weight")
    }
    layers |= {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight")
    }
    if "lm_head" not in layers:
        tied = next(
            (shape for name, shape in layers.items() if name.endswith(("embed_tokens", "wte"))),
            None,
        )
        if tied is not None and config.get("tie_word_embeddings", True):
            layers["lm_head"] = tied
    return layers


def _spellings(module: str) -> Iterator[str]:
    """`module` and what it may be called in a checkpoint saved with fewer or more outer names."""
    yield module
    inner = module
    while "." in inner:
        inner = inner.partition(".")[2]
        yield inner
    for outer in ("model", "transformer", "language_model", "model.language_model"):
        yield f"{outer}.{module}"


def _other_base(path: Path) -> str:
    named = read_json(path / ADAPTER_CONFIG).get("base_model_name_or_path")
    made_for = (
        f"It was made for {PurePosixPath(str(named)).name}."
        if named
        else "It was made for another model."
    )
    return f"{made_for} Use an adapter of this model."


def _pickled(name: str) -> WeightsError:
    return WeightsError(
        f"{name} is a pickled file, which can run code when it is read; adapters must be"
        f" {ADAPTER_WEIGHTS}.",
        hint="Load it with peft and save it again with safe_serialization=True.",
    )


# While serving
# ------------------------------------------------------------


def resolve_under_root(root: Path | None, source: str) -> Path:
    """The directory that a request to mount `source` may mean: a store tag, or a name below `root`.

    What lies outside, what is missing and what is a link out are told apart by nothing in the
    answer. Errors: InvalidRequest (an absolute path, "..", a URL), Forbidden (no root is set),
    AdapterNotFound.
    """
    missing = AdapterNotFound(
        f"There is no adapter {source!r} to mount.", hint="Check its name.", param="source"
    )
    if is_tag(source):
        try:
            return find_tag(source)
        except WeightsError as error:
            raise missing from error
    parts = source.split("/")
    plain = source.isprintable() and not re.search(r"[\\:~]", source) and len(source) <= 512
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(
            "An adapter is mounted by a model-store tag or by its name below the adapter root.",
            hint="Absolute paths, '..' and URLs are not taken.",
            param="source",
        )
    if root is None:
        raise Forbidden(
            "This server mounts adapters from its model store only.",
            hint="Give a tag: name:version.",
        )
    top = root.expanduser().resolve()
    directory = (top / source).resolve()
    inside = directory.is_relative_to(top) and directory.is_dir()
    if not inside or not all(file.resolve().is_relative_to(top) for file in directory.iterdir()):
        raise missing
    return directory


def check_mountable(
    root: Path | None, source: str, base: Path, max_rank: int | None = None
) -> CheckedAdapter:
    """`resolve_under_root` and `check_adapter` for a request: what is wrong is said without a path
    of this machine.

    Errors: those of `resolve_under_root`; InvalidRequest when the adapter cannot be mounted.
    """
    path = resolve_under_root(root, source)
    try:
        return check_adapter(path, base, max_rank)
    except WeightsError as error:
        message = error.message.replace(str(path), source)
        raise InvalidRequest(message, hint=error.hint, param="source") from error
