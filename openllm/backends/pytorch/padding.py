"""Inputs of unlike lengths in one forward pass: which go together, and how they are padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from openllm.errors import InvalidRequest

TOKENS_AT_ONCE = 4096  # padded tokens of one forward pass


def batches(lengths: Sequence[int], most: int = TOKENS_AT_ONCE) -> Iterator[list[int]]:
    """Indices of inputs to run together, of like lengths, so that little is padding."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[at] > most:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def padded(prompts: Sequence[Sequence[int]], filling: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids `[prompts, longest]`, filled up at the right, and which of them are of a prompt,
    `[prompts, longest]`.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.full((len(prompts), int(lengths.max())), filling, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def check_inputs(prompts: Sequence[Sequence[int]], context: int, vocab_size: int) -> None:
    """Errors: InvalidRequest for an input that is empty, too long, or no token ids of the model."""
    for prompt in prompts:
        if not prompt:
            raise InvalidRequest("An input is empty.", param="texts")
        if len(prompt) > context:
            reason = f"An input has {len(prompt)} tokens; the model takes {context}."
            raise InvalidRequest(reason, hint="Shorten it.", param="texts")
        if min(prompt) < 0 or max(prompt) >= vocab_size:
            raise InvalidRequest(
                f"A token id is outside the vocabulary of {vocab_size}.", param="texts"
            )
