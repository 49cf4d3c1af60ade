"""Vectors of prompts: the last hidden states of a decoder or encoder, pooled; the caller normalises
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.weights.checkpoint import read_config
from openllm.weights.pooling import is_encoder, pooling_of

TOKENS_AT_ONCE = 4096  # padded tokens of one forward pass


class Embedder:
    """Embeds through the model's body, without its head. Stateless but for the model."""

    def __init__(self, loaded: LoadedModel, weights_dir: Path) -> None:
        self._model, self._device, self._context = loaded.model, loaded.device, loaded.context
        self._body: Any = getattr(loaded.model, "base_model", loaded.model)
        config = read_config(weights_dir)
        self._encoder = is_encoder(config)
        self.pooling = pooling_of(weights_dir, config)

    def batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of prompts to run together, of like lengths, so that little is padding."""
        batch: list[int] = []
        for at in sorted(range(len(prompts)), key=lambda at: len(prompts[at])):
            if batch and (len(batch) + 1) * len(prompts[at]) > TOKENS_AT_ONCE:
                yield batch
                batch = []
            batch.append(at)
        if batch:
            yield batch

    def check(self, prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
        """Errors: InvalidRequest, UnsupportedFeature."""
        if self._model.config.is_encoder_decoder:
            raise UnsupportedFeature(
                "An encoder-decoder model has no embeddings here.", hint="Use an embedding model."
            )
        for prompt in prompts:
            if not prompt:
                raise InvalidRequest("An input is empty.", param="texts")
            if len(prompt) > self._context:
                reason = f"An input has {len(prompt)} tokens; the model takes {self._context}."
                raise InvalidRequest(reason, hint="Shorten it.", param="texts")
            if min(prompt) < 0 or max(prompt) >= vocab_size:
                raise InvalidRequest(
                    f"A token id is outside the vocabulary of {vocab_size}.", param="texts"
                )

    def embed(self, prompts: Sequence[Sequence[int]], pooling: str | None) -> list[list[float]]:
        """One forward pass over right-padded prompts, pooled: `[prompts, hidden size]` in fp32."""
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        ids = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).to(self._device)
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
