"""Models for measuring: a real model's shape with random weights, and a tokenizer of its
vocabulary's size.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LLAMA_1B: dict[str, Any] = {  # Llama-3.2-1B
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "dtype": "bfloat16",
}
TINY: dict[str, Any] = {
    **LLAMA_1B,
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "dtype": "float32",
}
LLAMA_8B: dict[str, Any] = {
    **LLAMA_1B,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "head_dim": 128,
}
SHAPES = {"llama-1b": LLAMA_1B, "llama-8b": LLAMA_8B, "tiny": TINY}


def ensure_model(path: Path, shape: str) -> Path:
    """The model of a shape of SHAPES in `path`, written by a process of its own: no GPU memory is
    held for it.
    """
    subprocess.run(
        [sys.executable, "-m", "benchmarks.shapes", str(path), shape], cwd=ROOT, check=True
    )
    return path


def write_model(path: Path, config: dict[str, Any]) -> Path:
    """A model of this shape with random weights in `path`; nothing is done where it exists
    already.
    """
    if (path / "tokenizer_config.json").exists() and json.loads(
        (path / "config.json").read_text()
    ) == config:
        return path
    path.mkdir(parents=True, exist_ok=True)
    _write_weights(path, config)
    (path / "config.json").write_text(json.dumps(config, indent=1))
    ends = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    (path / "generation_config.json").write_text(json.dumps(ends))
    _write_tokenizer(path, config["vocab_size"])
    return path


def _write_weights(path: Path, config: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    dtype, device = getattr(torch, config["dtype"]), "cuda" if torch.cuda.is_available() else "cpu"
    hidden, heads, size = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
    inner, narrow = config["intermediate_size"], config["num_key_value_heads"] * size

    def matrix(rows: int, columns: int) -> Any:
        return torch.empty(rows, columns, dtype=dtype, device=device).normal_(0.0, 0.02).cpu()

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        tensors |= {
            f"{name}.self_attn.q_proj.weight": matrix(heads * size, hidden),
            f"{name}.self_attn.k_proj.weight": matrix(narrow, hidden),
            f"{name}.self_attn.v_proj.weight": matrix(narrow, hidden),
            f"{name}.self_attn.o_proj.weight": matrix(hidden, heads * size),
            f"{name}.mlp.gate_proj.weight": matrix(inner, hidden),
            f"{name}.mlp.up_proj.weight": matrix(inner, hidden),
            f"{name}.mlp.down_proj.weight": matrix(hidden, inner),
            f"{name}.input_layernorm.weight": torch.ones(hidden, dtype=dtype),
            f"{name}.post_attention_layernorm.weight": torch.ones(hidden, dtype=dtype),
        }
    tensors["model.norm.weight"] = torch.ones(hidden, dtype=dtype)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def _write_tokenizer(path: Path, size: int) -> None:
    """Every id decodes to a short word, most with a space before it, as in a tokenizer that was
    trained.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    draw = random.Random(0)
    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    taken = set(words)
    while len(words) < size:
        word = draw.choice(["Ġ", "Ġ", ""]) + "".join(
            draw.choices("etaoinshrdlu", k=draw.randint(2, 7))
        )
        if word not in taken:
            taken.add(word)
            words.append(word)
    tokenizer = Tokenizer(models.BPE(vocab={word: at for at, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(path)


if __name__ == "__main__":
    write_model(Path(sys.argv[1]), SHAPES[sys.argv[2]])
