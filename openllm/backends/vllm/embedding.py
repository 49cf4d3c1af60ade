"""Embeddings by vLLM's pooling runner, as the model pools them and not normalised."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from openllm.backends.base import Embeddings
from openllm.backends.vllm.launched import Launched
from openllm.errors import UnsupportedFeature, option
from openllm.weights.pooling import Pooling


def pooler_config(pooling: Pooling) -> Any:
    """vLLM's PoolerConfig for one pooling."""
    from vllm.config import PoolerConfig

    kinds: Mapping[Pooling, Any] = {"mean": "MEAN", "cls": "CLS", "last": "LAST"}
    return PoolerConfig(pooling_type=kinds[pooling])


async def embed_prompts(
    launched: Launched, prompts: Sequence[tuple[str, Sequence[int]]], pooling: str | None
) -> Embeddings:
    """One vector per (request id, token ids). Errors: UnsupportedFeature for another pooling; those
    of vLLM.
    """
    from vllm.pooling_params import PoolingParams

    own = used_pooling(launched.config.model_config.pooler_config)
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


def used_pooling(config: Any) -> str | None:
    """How a vLLM PoolerConfig pools a sequence, in our words."""
    for name in ("seq_pooling_type", "pooling_type"):
        if value := getattr(config, name, None):
            return str(value).lower()
    return None
