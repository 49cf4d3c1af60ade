"""Tiny random checkpoints of model types by transformers' own names, and how the engine does on
each.

A checkpoint is the type's default configuration with every size that it has made small (`SMALL`),
and what the type needs beyond that (`BESIDE`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.backend import PyTorchBackend
from openllm.errors import OpenLLMError
from tests.backends.pytorch.conftest import ask, started

VOCABULARY = 384
PAD, BOS, EOS = 0, 1, 2
SPREAD = 0.2  # of the weights: wide enough for greedy answers to be clear of ties
MARGIN = 1e-3  # between the two best logits: closer is a tie, and after a tie answers may part
NEW = 12  # tokens of an answer
LENGTHS = (3, 40, 21, 1, 9, 33)  # tokens of the six prompts

# Sizes by the name that configurations have for them; each goes to the types that have it.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "embed_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "decoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    "encoder_layers": 2,
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "query_pre_attn_scalar"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 256),
    "sliding_window": 8,
    # experts
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    # latent attention
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    # states
    "state_size": 8,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "is_decoder": True,
}

# Of the part of a model that looks at pictures.
SMALL_VISION: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "embed_dim"), 32),
    "intermediate_size": 48,
    **dict.fromkeys(("num_hidden_layers", "depth"), 1),
    **dict.fromkeys(("num_attention_heads", "num_heads"), 2),
    "image_size": 28,
    "patch_size": 14,
}

# What a type needs beside that, or has to be told to show what is its own.
BESIDE: dict[str, dict[str, Any]] = {}


@attrs.frozen
class Result:
    """How the engine did on one type."""

    type: str
    batched: bool = False  # in one forward pass, else one sequence at a time
    problem: str | None = None
    seconds: float = 0.0


def configuration(model_type: str) -> Any:
    """transformers' configuration of a tiny model of that type."""
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**_small(CONFIG_MAPPING[model_type], model_type))


def _small(kind: Any, model_type: str, sizes: dict[str, Any] = SMALL) -> dict[str, Any]:
    base = kind()
    fields = {
        name: size
        for name, size in sizes.items()
        if _get(base, name) is not None or name.endswith("token_id")
    }
    for name in kind.sub_configs:
        inner = getattr(base, name, None)
        if inner is not None:
            sizes = SMALL if "text" in name else SMALL_VISION
            fields[name] = _small(type(inner), inner.model_type, sizes)
            fields[name]["model_type"] = inner.model_type
    for name, value in BESIDE.get(model_type, {}).items():
        if value is ...:
            fields.pop(name, None)
        elif isinstance(value, dict) and isinstance(fields.get(name), dict):
            fields[name] |= value
        else:
            fields[name] = value
    return fields


def _get(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception as error:
        if "per-layer" not in str(error):
            raise
        return None


def write_checkpoint(model_type: str, path: Path, seed: int = 0) -> Path:
    """A random model of that type in fp32, by the auto class that has it."""
    torch.manual_seed(seed)
    model = auto_class(model_type).from_config(configuration(model_type), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, SPREAD)
    model.save_pretrained(path)
    return path


def auto_class(model_type: str) -> Any:
    import transformers
    from transformers.models.auto import modeling_auto as names

    if model_type in names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForCausalLM
    if model_type in names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForSeq2SeqLM


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randint(6, VOCABULARY - 8, (length,), generator=generator).tolist()
        for length in LENGTHS
    ]


def generate(model: Any, prompt: list[int]) -> tuple[list[int], list[float]]:
    """transformers' own greedy answer, and how clear each of its tokens was."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        eos_token_id=None,
        **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id")),
        return_dict_in_generate=True,
        output_logits=True,
    )
    best = [logits[0].float().topk(2).values for logits in out.logits]
    return out.sequences[0, -NEW:].tolist(), [float(two[0] - two[1]) for two in best]


def difference(found: list[int], own: list[int], gaps: list[float]) -> str | None:
    """Where an answer leaves transformers' own, but for ties."""
    for at, (token, right, gap) in enumerate(zip(found, own, gaps, strict=True)):
        if gap < MARGIN:
            return None
        if token != right:
            return f"token {at} is {token}, not {right} (clear by {gap:.2g})"
    return None


def expected(model_type: str, path: Path) -> list[tuple[list[int], list[float]]]:
    """What transformers answers to each prompt."""
    model = auto_class(model_type).from_pretrained(path, dtype=torch.float32).eval()
    return [generate(model, prompt) for prompt in prompts()]


def evaluate(model_type: str, path: Path) -> Result:
    """Write a checkpoint of the type to `path`, and hold the engine to `generate()` on it."""
    begun = time.monotonic()
    own = expected(model_type, write_checkpoint(model_type, path))
    try:
        batched, found = asyncio.run(_answers(path))
    except OpenLLMError as error:
        return Result(model_type, problem=f"refused: {error}")
    parts = [difference(tokens, *right) for tokens, right in zip(found, own, strict=True)]
    wrong = [f"prompt {at}: {part}" for at, part in enumerate(parts) if part is not None]
    problem = "; ".join(wrong) or None
    return Result(model_type, batched, problem, round(time.monotonic() - begun, 1))


async def _answers(path: Path) -> tuple[bool, list[list[int]]]:
    async with started(path) as backend:
        answers = await asyncio.gather(
            *(ask(backend, prompt, max_tokens=NEW) for prompt in prompts())
        )
        return is_batched(backend), [
            answer.tokens or [-1] * NEW if answer.error is None else [-2] * NEW
            for answer in answers
        ]


def is_batched(backend: PyTorchBackend) -> bool:
    engine = backend._started.require_engine()  # type: ignore[union-attr]
    return engine._parts.executor.chunks or hasattr(engine._parts.executor, "store")


def quiet() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)
