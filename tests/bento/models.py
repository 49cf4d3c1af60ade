"""Model and adapter directories that pass openllm's checks and cost nothing to make."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
from safetensors.numpy import save_file

from tests.tiny import SMALL, write_tokenizer


def write_echo_weights(path: Path, size: int = 1024) -> Path:
    """A model for the echo engine: tokenizer, configuration and one tensor of `size` bytes."""
    write_tokenizer(path)
    fields = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL}
    (path / "config.json").write_text(json.dumps(fields))
    save_file({"model.embed_tokens.weight": numpy.zeros((1, size), dtype=numpy.uint8)}, path / "model.safetensors")
    return path
