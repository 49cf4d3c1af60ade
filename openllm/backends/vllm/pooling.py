"""Embeddings and logits by vLLM's pooling runner: vectors as the model's files say; logits before
any activation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openllm.backends.base import Embeddings, Logits
from openllm.backends.stages import check_stages
from openllm.errors import UnsupportedFeature, option
from openllm.types import EncodedText
from openllm.weights.modules import MODULES, Dense, LogitScore, Stage, read_modules
from openllm.weights.pooling import pooling_of, pools_prompt

if TYPE_CHECKING:
    from openllm.backends.vllm.launched import Launched

_KINDS: Mapping[str, Any] = {"mean": "MEAN", "cls": "CLS", "last": "LAST"}
# What vLLM takes for sentence-transformers' Dense; it passes over any other in silence.
_DENSE = ("sentence_transformers.models.Dense", "sentence_transformers.base.modules.dense.Dense")
_INSTEAD = f"Use {option('backend', 'pytorch')}."


def pooler_config(weights_dir: Path, fields: Mapping[str, Any]) -> Any:
    """vLLM's PoolerConfig for the model in `weights_dir`, whose config.json holds `fields`. Errors:
    UnsupportedFeature for modules of sentence-transformers that vLLM does not follow, WeightsError.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

    kind = fields.get("model_type")
    if kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise UnsupportedFeature(f"vLLM has no encoder of {kind} alone.", hint=_INSTEAD)
    pooling = pooling_of(weights_dir, fields)
    if pooling not in _KINDS:
        raise UnsupportedFeature(f"vLLM does not pool by {pooling}.", hint=_INSTEAD)
    if not pools_prompt(weights_dir):
        raise whole_prompts()
    stages = read_modules(weights_dir).stages
    for stage in stages[: len(stages) - len(_own(stages, weights_dir))]:
        if not (isinstance(stage, Dense) and _follows(stage)):
            raise UnsupportedFeature(
                f"vLLM does not follow this model's {type(stage).__name__} behind the pooling.",
                hint=_INSTEAD,
            )
    check_stages(stages)
    from vllm.config import PoolerConfig

    return PoolerConfig(pooling_type=_KINDS[pooling])


def own_stages(weights_dir: Path) -> tuple[Stage, ...]:
    """What of the model's stages is done with vLLM's vectors: those behind the Dense modules that
    vLLM finds by itself, which is beside modules.json alone.
    """
    return _own(read_modules(weights_dir).stages, weights_dir)


def _own(stages: tuple[Stage, ...], weights_dir: Path) -> tuple[Stage, ...]:
    if not (weights_dir / MODULES).is_file():
        return stages
    last = max((at for at, stage in enumerate(stages) if isinstance(stage, Dense)), default=-1)
    return stages[last + 1 :]


def _follows(dense: Dense) -> bool:
    named = (dense.written or "").startswith("torch.nn.modules.")
    return dense.kind in _DENSE and named and not dense.residual


def whole_prompts() -> UnsupportedFeature:
    """The error for a model that leaves the prompt out of the pooling."""
    return UnsupportedFeature(
        "vLLM pools a whole text; this model's files leave the prompt before it out.",
        hint=_INSTEAD,
    )


def score_overrides(
    score: LogitScore, fields: Mapping[str, Any], tokens: Sequence[str]
) -> dict[str, Any]:
    """vLLM's `hf_overrides` by which it makes a classifier with one label of a language model:
    from its head's rows of the two tokens, or of the one. `tokens` are their texts, the true one's
    first.
    """
    kinds = fields.get("architectures") or [""]
    made = {
        "architectures": [str(kinds[0]).replace("ForCausalLM", "ForSequenceClassification")],
        "num_labels": 1,
        "classifier_from_token": list(reversed(tokens)),
    }
    two = score.false_token is not None
    return {**made, "method": "from_2_way_softmax" if two else "no_post_processing"}


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
    found = list(vectors)
    if found and launched.stages:
        import torch

        found = launched.stages(torch.tensor(found)).tolist()
    return Embeddings(found, sum(len(token_ids) for _, token_ids in prompts))


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
