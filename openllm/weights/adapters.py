"""LoRA adapters before they reach an engine: found by name, read once, and checked to be safe and
to fit the base model.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from openllm.config.names import is_tag
from openllm.config.spec import AdapterSpec
from openllm.errors import (
    ConfigurationError,
    WeightsError,
    option,
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
from openllm.weights.layers import find_layers
from openllm.weights.links import check_links
from openllm.weights.origin import Origin, expand, origin
from openllm.weights.store import find_tag

ADAPTER_WEIGHTS = "adapter_model.safetensors"
LARGEST_SCALE = 65504.0  # the largest number of half precision
_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "README.md", "LICENSE*", "NOTICE*")
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.(?P<name>[^.]+))?\.weight"
)
# What torch.compile puts into a path.
_COMPILED = re.compile(r"(?:^|(?<=\.))_orig_mod\.")
_EXPERT = re.compile(r"\.experts\.")  # the shared expert beside them is a layer like any other
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
class AdapterLayer:
    """What an adapter adds to one linear layer: the product of its two matrices, times `scale`."""

    down: str  # the name of A in the file, `[rank, width_in]`
    up: str  # the name of B, `[width_out, rank]`
    rank: int
    width_in: int
    width_out: int
    scale: float  # alpha / rank, or alpha / sqrt(rank) with rsLoRA


@attrs.frozen
class CheckedAdapter:
    """A plain LoRA adapter as its files say: one that every LoRA engine can mount."""

    path: Path
    layers: Mapping[str, AdapterLayer]  # by the layer's path in the model
    base_model: str | None  # what it says it was trained on
    uniform: bool  # one rank and one alpha for all layers; vLLM needs that
    transposed: bool  # the base model's matrices are `[in, out]`, as GPT-2's

    @property
    def rank(self) -> int:
        """The largest over its layers."""
        return max(layer.rank for layer in self.layers.values())

    @property
    def targets(self) -> tuple[str, ...]:
        """Last names of the layers it changes, sorted: "q_proj", ..."""
        return tuple(sorted({module.rpartition(".")[2] for module in self.layers}))

    @property
    def weights(self) -> Path:
        """The file that holds its matrices."""
        return self.path / ADAPTER_WEIGHTS

    @property
    def digest(self) -> str:
        """SHA-256 of its files; read each time."""
        return content_digest(self.path)


def resolve_adapter(adapter: AdapterSpec, home: Path, token: Token = None) -> Path:
    """The local directory of an adapter: as it is, from the store below BentoML's `home`, or
    downloaded. `check_adapter` comes next.

    Errors: ConfigurationError for a source that means nothing, WeightsError when it is not there.
    """
    kind = origin(adapter.source)
    if kind is Origin.HUB:
        _refuse_bare_tag(adapter, home)
        return _from_hub(adapter, token)
    if adapter.revision is not None:
        raise ConfigurationError(
            "A revision goes with a Hub id only.", hint=f"Drop @{adapter.revision}."
        )
    if kind is Origin.DEMO:
        raise ConfigurationError(
            "demo is a model, no adapter.", hint="Name an adapter's directory or Hub id."
        )
    directory = find_tag(adapter.source, home) if kind is Origin.STORE else expand(adapter.source)
    check_directory(directory)
    return directory.resolve()


def _refuse_bare_tag(adapter: AdapterSpec, home: Path) -> None:
    """`name:version` reads as SOURCE:NAME; if the store has that tag it was meant as one."""
    tag = f"{adapter.source}:{adapter.name}"
    if not is_tag(tag):
        return
    with contextlib.suppress(WeightsError):
        find_tag(tag, home)
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
    path: Path,
    base: Path | None,
    max_rank: int | None = None,
    *,
    uniform: bool = False,
    experts: bool = True,
) -> CheckedAdapter:
    """Read the adapter in `path` and check it against the model in `base` (None: it is not here);
    only headers are read, so it costs milliseconds.

    Errors: WeightsError, one line for each reason: those of `read_adapter`, a rank above
    `max_rank`, layers the base model lacks, shapes that do not fit; with `uniform`, layers that
    differ in rank or alpha; without `experts`, those of a mixture of experts.
    """
    adapter = read_adapter(path)
    expert = next((module for module in adapter.layers if _EXPERT.search(module)), None)
    if expert is not None and not experts:
        raise WeightsError(
            f"{path} changes {expert}, an expert of a mixture; this engine adds nothing to those.",
            hint="Use the vllm backend, or train the layers outside of the experts.",
        )
    if max_rank is not None and adapter.rank > max_rank:
        raise WeightsError(
            f"{path} has rank {adapter.rank}, above the limit of {max_rank}.",
            hint=f"Raise {option('max_lora_rank')}.",
        )
    if base is not None:
        _check_fit(adapter, base)
    if uniform and not adapter.uniform:
        raise WeightsError(
            f"{path} sets ranks or alphas layer by layer (rank_pattern, alpha_pattern); this engine"
            " knows one for all.",
            hint="Use the pytorch backend, or train it with one rank and one alpha.",
        )
    return adapter


def read_adapter(path: Path) -> CheckedAdapter:
    """The adapter in `path`, as peft has saved it: its configuration, and the names and shapes of
    its matrices.

    Errors: WeightsError for what is not LoRA, a variant no engine can mix in a batch, pickled or
    broken files.
    """
    check_directory(path)
    check_links(path)
    config = _read_adapter_config(path)
    named = config.get("base_model_name_or_path")
    return CheckedAdapter(
        path=path,
        layers=_layers(path, config),
        base_model=named if isinstance(named, str) and named else None,
        uniform=not config.get("rank_pattern") and not config.get("alpha_pattern"),
        transposed=bool(config.get("fan_in_fan_out")),
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


def _layers(path: Path, config: Mapping[str, Any]) -> dict[str, AdapterLayer]:
    """What the header of the weights says, by module path."""
    weights = path / ADAPTER_WEIGHTS
    if not weights.is_file():
        if pickled := pickled_files([file.name for file in path.iterdir()]):
            raise _pickled(str(path / pickled[0]))
        raise WeightsError(
            f"{path} has no {ADAPTER_WEIGHTS}.", hint="Save the adapter again with peft."
        )
    sides: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    names: set[str | None] = set()  # of the adapter, where a trainer has written it down
    for key, info in read_header(weights).items():
        match = _KEY.fullmatch(key)
        if match is None or len(info.shape) != 2:
            raise WeightsError(
                f"{weights} holds {key}, which is no LoRA matrix of a linear layer.",
                hint="Train linear layers only; save with save_embedding_layers=False.",
            )
        names.add(match["name"])
        module = _COMPILED.sub("", match["module"])
        sides.setdefault(module, {})[match["side"]] = (key, info.shape)
    if len(names) > 1:
        raise WeightsError(
            f"{weights} holds the matrices of {len(names)} adapters.",
            hint="Save one of them at a time: save_pretrained(selected_adapters=[...]).",
        )
    if not sides:
        raise WeightsError(
            f"{weights} holds no LoRA matrices.", hint="Save the adapter again with peft."
        )
    layers = {}
    for module, pair in sides.items():
        if len(pair) < 2 or pair["A"][1][0] != pair["B"][1][1]:
            raise WeightsError(
                f"{weights} has no whole pair of matrices for {module}.",
                hint="Save it again with peft.",
            )
        (down, (rank, width_in)), (up, (width_out, _)) = pair["A"], pair["B"]
        scale = _scale(path, config, module, rank)
        layers[module] = AdapterLayer(down, up, rank, width_in, width_out, scale)
    return layers


def _scale(path: Path, config: Mapping[str, Any], module: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) with rsLoRA; patterns name a module by the end of its
    path.
    """
    try:
        patterns = dict(config.get("alpha_pattern") or {}).items()
        found = (alpha for name, alpha in patterns if re.fullmatch(rf"(.*\.)?({name})", module))
        alpha = float(next(found, config.get("lora_alpha", rank)))
    except (TypeError, ValueError, re.error) as error:
        raise WeightsError(
            f"{path / ADAPTER_CONFIG} says no usable alpha for {module}: {error}.",
            hint="Save the adapter again with peft.",
        ) from error
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if not abs(scale) <= LARGEST_SCALE:  # also for NaN
        raise WeightsError(
            f"{path / ADAPTER_CONFIG} multiplies what the adapter adds to {module} by {scale:g}; at"
            f" most {LARGEST_SCALE:g} can be computed.",
            hint="Correct lora_alpha.",
        )
    return scale


def _check_fit(adapter: CheckedAdapter, base: Path) -> None:
    """Compare with the base model's headers; where it is quantized, only the names of layers can be
    compared.
    """
    config = read_config(base)
    shapes = tensor_shapes(base)
    if not shapes:
        return  # a trusted pickled base: the engine will compare
    known = _base_layers(shapes, config)
    names = find_layers(adapter.layers, known)
    for module, layer in adapter.layers.items():
        name = names[module]
        shape = None if name is None else known[name]
        if shape is None:
            raise WeightsError(
                f"{adapter.path} changes {module}, which the base model does not have.",
                hint=_other_base(adapter),
            )
        wanted = (layer.width_out, layer.width_in)
        if adapter.transposed:
            wanted = wanted[::-1]
        if "quantization_config" not in config and shape != wanted:
            raise WeightsError(
                f"{adapter.path} fits a {module} of shape {list(wanted)}; the base model's is"
                f" {list(shape)}.",
                hint=_other_base(adapter),
            )


def _base_layers(
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


def _other_base(adapter: CheckedAdapter) -> str:
    named = adapter.base_model
    made_for = PurePosixPath(named).name if named else "another model"
    return f"It was made for {made_for}. Use an adapter of this model."


def _pickled(name: str) -> WeightsError:
    return WeightsError(
        f"{name} is a pickled file, which can run code when it is read; adapters must be"
        f" {ADAPTER_WEIGHTS}.",
        hint="Load it with peft and save it again with safe_serialization=True.",
    )
