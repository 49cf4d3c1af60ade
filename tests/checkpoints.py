"""Model directories made of a few bytes: for tests that need files, not a model that runs."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from openllm.config.spec import LLMSpec

HOME = Path("/no/bentoml")  # of tests that name no store tag
CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4}


def tensors(**arrays: int) -> bytes:
    """A safetensors file of one-dimensional fp32 tensors of these lengths."""
    header, end = {}, 0
    for name, length in arrays.items():
        header[name] = {"dtype": "F32", "shape": [length], "data_offsets": [end, end + 4 * length]}
        end += 4 * length
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": tensors(a=3, b=5),
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
}


def write(directory: Path, files: dict[str, bytes | None] | None = None) -> Path:
    """FILES, changed by `files` (None: left out), below `directory`."""
    for name, data in {**FILES, **(files or {})}.items():
        if data is not None:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return directory


def spec(model_id: object, **fields: object) -> LLMSpec:
    return LLMSpec.from_dict({"model_id": str(model_id), **fields})


def forbid_network(monkeypatch: Any) -> None:
    """From here to the test's end every attempt to reach the network fails the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
