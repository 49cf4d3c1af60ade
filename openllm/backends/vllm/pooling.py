"""Embeddings and logits by vLLM's pooling runner: vectors as the model pools them, not normalised;
logits before any activation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from openllm.backends.base import Embeddings, Logits
from openllm.backends.vllm.launched import Launched
from openllm.errors import UnsupportedFeature, option
from openllm.types import EncodedText
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
    vectors = await asyncio.gather(
        *(_pooled(launched, request_id, ids, params) for request_id, ids in prompts)
    )
    return Embeddings(list(vectors), sum(len(token_ids) for _, token_ids in prompts))


async def classify_inputs(launched: Launched, inputs: Sequence[tuple[str, EncodedText]]) -> Logits:
    """One row of logits per (request id, input). Errors: those of vLLM."""
    from vllm.pooling_params import PoolingParams

    def params(one: EncodedText) -> Any:
        # vLLM's own short form of token types: where those of the second text begin
        extra = {} if one.second is None else {"compressed_token_type_ids": one.second}
        return PoolingParams(task="classify", use_activation=False, extra_kwargs=extra or None)

    rows = await asyncio.gather(
        *(_pooled(launched, name, one.token_ids, params(one)) for name, one in inputs)
    )
    return Logits(list(rows), sum(len(one.token_ids) for _, one in inputs))


async def _pooled(
    launched: Launched, request_id: str, token_ids: Sequence[int], params: Any
) -> list[float]:
    """What vLLM makes of one prompt."""
    prompt: Any = {"type": "token", "prompt_token_ids": list(token_ids)}
    found: list[float] = []
    async for output in launched.engine.encode(prompt, params, request_id):
        found = output.outputs.data.tolist()
    return found


def used_pooling(config: Any) -> str | None:
    """How a vLLM PoolerConfig pools a sequence, in our words."""
    for name in ("seq_pooling_type", "pooling_type"):
        if value := getattr(config, name, None):
            return str(value).lower()
    return None
