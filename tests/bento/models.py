"""Model and adapter directories that pass openllm's checks and cost nothing to make."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
from safetensors.numpy import save_file

from tests.tiny import SMALL, write_tokenizer

LAYER = "model.layers.0.self_attn.q_proj"
WIDTH = 64
RANK = 4


def write_echo_weights(path: Path, size: int = 1024) -> Path:
    """A model for the echo engine: tokenizer, configuration, one small layer and one tensor of
    `size` bytes.
    """
    write_tokenizer(path)
    fields = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL}
    (path / "config.json").write_text(json.dumps(fields))
    layer = numpy.zeros((WIDTH, WIDTH), dtype=numpy.float32)
    filler = numpy.zeros((1, size), dtype=numpy.uint8)
    save_file(
        {f"{LAYER}.weight": layer, "model.embed_tokens.weight": filler}, path / "model.safetensors"
    )
    return path


def write_echo_adapter(path: Path) -> Path:
    """A LoRA adapter that fits those weights, in peft's format."""
    path.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": ["q_proj"],
        "bias": "none",
    }
    (path / "adapter_config.json").write_text(json.dumps(config))
    pair = {"lora_A": (RANK, WIDTH), "lora_B": (WIDTH, RANK)}
    tensors = {
        f"base_model.model.{LAYER}.{name}.weight": numpy.ones(shape, dtype=numpy.float32)
        for name, shape in pair.items()
    }
    save_file(tensors, path / "adapter_model.safetensors")
    return path
