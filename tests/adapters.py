"""LoRA adapters spoilt in every way that must be refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from openllm.weights.adapters import ADAPTER_WEIGHTS as WEIGHTS
from openllm.weights.checkpoint import ADAPTER_CONFIG as CONFIG


def change(adapter: Path, **fields: object) -> Path:
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, **fields}))
    return adapter


def rename(adapter: Path, **names: str) -> Path:
    """Other names for the tensors whose names contain a key."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(adapter / WEIGHTS)
    for old, new in names.items():
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    save_file(tensors, adapter / WEIGHTS)
    return adapter


def poison(adapter: Path, value: float, side: str = "lora_B") -> Path:
    """The adapter with one value replaced in each of its matrices A or B."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(adapter / WEIGHTS)
    for name, tensor in tensors.items():
        if side in name:
            tensor.flat[tensor.size // 2] = value
    save_file(tensors, adapter / WEIGHTS)
    return adapter


# How each is spoilt, and what the refusal must say.
REFUSED = {
    "another type": (lambda path: change(path, peft_type="IA3"), "type IA3; only LORA"),
    "no type": (lambda path: change(path, peft_type=None), "only LORA"),
    "DoRA": (lambda path: change(path, use_dora=True), "DoRA"),
    "saved modules": (lambda path: change(path, modules_to_save=["lm_head"]), "modules_to_save"),
    "biases": (lambda path: change(path, bias="lora_only"), "bias=lora_only"),
    "a bias in B": (lambda path: change(path, lora_bias=True), "a bias in its matrices"),
    "parameters": (lambda path: change(path, target_parameters=["experts"]), "target_parameters"),
    "PiSSA": (
        lambda path: change(path, init_lora_weights="pissa_niter_16"),
        "init_lora_weights=pissa_niter_16",
    ),
    "a huge alpha": (lambda path: change(path, lora_alpha=1e308), "at most 65504 can be computed"),
    "an endless alpha": (lambda path: change(path, lora_alpha="inf"), "by inf; at most 65504"),
    "an alpha of words": (lambda path: change(path, lora_alpha="x"), "says no usable alpha"),
    "code": (lambda path: change(path, auto_map={"AutoModel": "a.B"}), "code of its own"),
    "no config": (lambda path: (path / CONFIG).unlink(), f"has no {CONFIG}"),
    "torn config": (lambda path: (path / CONFIG).write_text("{"), "not readable JSON"),
    "no weights": (lambda path: (path / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "pickled": (
        lambda path: (path / WEIGHTS).rename(path / "adapter_model.bin"),
        "adapter_model.bin is a pickled",
    ),
    "cut short": (
        lambda path: (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-8]),
        "no whole safetensors",
    ),
    "unknown layers": (
        lambda path: rename(path, q_proj="query"),
        "changes .*query, which the base model does not have",
    ),
    "half a pair": (lambda path: rename(path, lora_B="lora_A"), "pair"),
    "embeddings": (
        lambda path: rename(path, **{"lora_A.weight": "lora_embedding_A"}),
        "no LoRA matrix of a linear",
    ),
    "magnitudes": (
        lambda path: rename(path, **{"lora_B.weight": "lora_magnitude_vector"}),
        "no LoRA matrix",
    ),
}


def respelled(adapter: Path, path: Path) -> Path:
    """A copy whose layers are called as torch.compile and a model that sees pictures call them, of
    an adapter with a name of its own.
    """
    shutil.copytree(adapter, path)
    outer = {"base_model.model.model.": "base_model.model._orig_mod.model.language_model."}
    return rename(path, **outer, **{".weight": ".pirate.weight"})
