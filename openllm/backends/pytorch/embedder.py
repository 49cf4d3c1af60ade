"""Vectors of prompts: the last hidden states of a decoder or encoder, pooled, and what the model's
files say is done with the pooled vector; the caller normalises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.padding import batches, check_inputs, padded
from openllm.backends.stages import Stages
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.weights.checkpoint import read_config
from openllm.weights.modules import Stage
from openllm.weights.pooling import MODES, is_encoder, pooling_of


class Embedder:
    """Embeds through the model's body, without its head. Stateless but for the model."""

    def __init__(self, loaded: LoadedModel, weights_dir: Path, stages: Sequence[Stage]) -> None:
        self._model, self._device, self._context = loaded.model, loaded.device, loaded.context
        self._body: Any = getattr(loaded.model, "base_model", loaded.model)
        config = read_config(weights_dir)
        self._encoder = is_encoder(config)
        text = loaded.model.config.get_text_config(decoder=True)
        self._filling = getattr(text, "pad_token_id", None) or 0
        self.pooling = pooling_of(weights_dir, config)
        self._stages = Stages(stages, loaded.device)
        # transformers' classes for encoders alone (T5EncoderModel) leave the decoder out
        self._decodes = loaded.model.config.is_encoder_decoder and hasattr(self._body, "decoder")

    def batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of prompts to run together."""
        return batches([len(prompt) for prompt in prompts])

    def check(self, prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
        """Errors: InvalidRequest, UnsupportedFeature."""
        if self._decodes:
            raise UnsupportedFeature(
                "An encoder-decoder model has no embeddings here.",
                hint="Start it with task='embed' if transformers has its encoder alone, as of T5.",
            )
        check_inputs(prompts, self._context, vocab_size)

    def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None, skip: int = 0
    ) -> list[list[float]]:
        """One forward pass over right-padded prompts, pooled without the first `skip` tokens:
        `[prompts, width]` in fp32.
        """
        ids, mask = padded(prompts, self._filling)
        mask = mask.to(self._device)
        with torch.inference_mode():
            arguments: dict[str, Any] = {
                "input_ids": ids.to(self._device),
                "attention_mask": mask.long(),
            }
            if not self._encoder:
                arguments["use_cache"] = False
            states = self._body(**arguments).last_hidden_state.float()
            pooled = pool(states, mask, pooling or self.pooling, skip)
            vectors: list[list[float]] = self._stages(pooled).tolist()
        return vectors


def pool(states: torch.Tensor, mask: torch.Tensor, how: str, skip: int = 0) -> torch.Tensor:
    """`[rows, tokens, width]` -> `[rows, width]`, or twice the width for two modes ("cls+mean") and
    so on; `mask [rows, tokens]` is true for tokens, which stand at the left. The first `skip` of
    them are left out, as sentence-transformers leaves out a prompt (its Pooling module is the
    source of the arithmetic). Errors: InvalidRequest.
    """
    counted = mask.clone()
    counted[:, :skip] = False
    return torch.cat([_pool(states, mask, counted, mode) for mode in how.split("+")], -1)


def _pool(
    states: torch.Tensor, mask: torch.Tensor, counted: torch.Tensor, how: str
) -> torch.Tensor:
    rows = torch.arange(states.shape[0], device=states.device)
    if how == "cls":
        return states[rows, counted.int().argmax(-1)]
    if how == "last":
        return states[rows, mask.sum(-1) - 1]
    if how == "max":
        none = ~counted.any(-1, keepdim=True)  # the highest of no numbers is none
        return states.masked_fill(~(counted | (none & mask))[..., None], -torch.inf).amax(1)
    if how not in ("mean", "mean_sqrt_len_tokens", "weightedmean"):
        known = ", ".join(MODES.values())
        raise InvalidRequest(f"pooling {how!r} is not one of {known}.", param="pooling")
    weights = counted[..., None].to(states.dtype)
    if how == "weightedmean":
        places = torch.arange(1, states.shape[1] + 1, device=states.device)
        weights = weights * places[:, None]
    total = weights.sum(1).clamp(min=1e-9)
    sums = (states * weights).sum(1)
    return sums / (total.sqrt() if how == "mean_sqrt_len_tokens" else total)
