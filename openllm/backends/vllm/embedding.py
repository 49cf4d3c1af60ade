"""Embeddings by vLLM's pooling runner, as the model pools them and not normalised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openllm.backends.base import Embeddings
from openllm.backends.vllm.launched import Launched
from openllm.errors import UnsupportedFeature, option

_POOLINGS = {"mean_tokens": "MEAN", "cls_token": "CLS", "lasttoken": "LAST"}


def pooling_type(weights_dir: Path, config: Mapping[str, Any]) -> str | None:
    """How to pool where vLLM would not find out: by 1_Pooling/config.json, else the mean for an
    encoder.

    None where vLLM knows: sentence-transformers' modules.json, and decoders (the last token).
    """
    if (weights_dir / "modules.json").exists():
        return None
    try:
        said = json.loads((weights_dir / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        said = {}
    for mode, pooling in _POOLINGS.items():
        if said.get(f"pooling_mode_{mode}"):
            return pooling
    decoder = any(
        name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.get("architectures") or ()
    )
    return None if decoder else "MEAN"


def pooler_config(pooling: str) -> Any:
    """vLLM's PoolerConfig for one pooling."""
    from vllm.config import PoolerConfig

    return PoolerConfig(pooling_type=pooling)


async def embed_prompts(
    launched: Launched, prompts: Sequence[tuple[str, Sequence[int]]], pooling: str | None
) -> Embeddings:
    """One vector per (request id, token ids). Errors: UnsupportedFeature for another pooling; those
    of vLLM.
    """
    from vllm.pooling_params import PoolingParams

    own = pooling_of(launched.config.model_config.pooler_config)
    if pooling is not None and pooling != own:
        raise UnsupportedFeature(
            f"vLLM pools this model by {own!r}, not {pooling!r}.",
            hint=f"Start it with {option('engine_args.pooler_config')}, or use"
            f" {option('backend', 'pytorch')}.",
            param="pooling",
        )
    params = PoolingParams(task="embed", use_activation=False)

    async def embed(request_id: str, token_ids: Sequence[int]) -> list[float]:
        prompt: Any = {"type": "token", "prompt_token_ids": list(token_ids)}
        vector: list[float] = []
        async for output in launched.engine.encode(prompt, params, request_id):
            vector = output.outputs.data.tolist()
        return vector

    vectors = await asyncio.gather(
        *(embed(request_id, token_ids) for request_id, token_ids in prompts)
    )
    return Embeddings(list(vectors), sum(len(token_ids) for _, token_ids in prompts))


def pooling_of(config: Any) -> str | None:
    """How a vLLM PoolerConfig pools a sequence, in our words."""
    for name in ("seq_pooling_type", "pooling_type"):
        if value := getattr(config, name, None):
            return str(value).lower()
    return None
