"""Vectors of prompts: the last hidden states of a decoder or encoder, pooled; the caller normalises
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.padding import batches, check_inputs, padded
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.weights.checkpoint import read_config
from openllm.weights.pooling import is_encoder, pooling_of


class Embedder:
    """Embeds through the model's body, without its head. Stateless but for the model."""

    def __init__(self, loaded: LoadedModel, weights_dir: Path) -> None:
        self._model, self._device, self._context = loaded.model, loaded.device, loaded.context
        self._body: Any = getattr(loaded.model, "base_model", loaded.model)
        config = read_config(weights_dir)
        self._encoder = is_encoder(config)
        text = loaded.model.config.get_text_config(decoder=True)
        self._filling = getattr(text, "pad_token_id", None) or 0
        self.pooling = pooling_of(weights_dir, config)

    def batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of prompts to run together."""
        return batches([len(prompt) for prompt in prompts])

    def check(self, prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
        """Errors: InvalidRequest, UnsupportedFeature."""
        if self._model.config.is_encoder_decoder:
            raise UnsupportedFeature(
                "An encoder-decoder model has no embeddings here.", hint="Use an embedding model."
            )
        check_inputs(prompts, self._context, vocab_size)

    def embed(self, prompts: Sequence[Sequence[int]], pooling: str | None) -> list[list[float]]:
        """One forward pass over right-padded prompts, pooled: `[prompts, hidden size]` in fp32."""
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
            vectors: list[list[float]] = pool(states, mask, pooling or self.pooling).tolist()
        return vectors


def pool(states: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """`[rows, tokens, width]` -> `[rows, width]`; `mask [rows, tokens]` is true for tokens. Errors:
    InvalidRequest.
    """
    if how == "cls":
        return states[:, 0]
    if how == "last":
        last = mask.sum(-1) - 1
        return states[torch.arange(states.shape[0], device=states.device), last]
    if how == "mean":
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)
    raise InvalidRequest(f"pooling {how!r} is not one of mean, last, cls.", param="pooling")
