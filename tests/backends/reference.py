"""What an engine's tokens are held against: transformers in float32, or plain numpy where there is
no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

MARGIN = 1e-3  # two logits nearer than this may come in either order


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def model_directory(path: Path) -> Path:
    """A tiny random model with a tokenizer, written to `path`."""
    from tests.tiny import VOCAB_SIZE, write_llama, write_tokenizer

    if has_torch():
        return write_llama(path)
    from tests.backends.keras.checkpoints import write_checkpoint

    write_checkpoint(path, "llama", vocab_size=VOCAB_SIZE, max_position_embeddings=512)
    return write_tokenizer(path)


class Reference:
    """The model in `path`, one request at a time, by code that shares nothing with the engines'
    loops.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _logits(self) -> Callable[[list[int]], np.ndarray]:
        """Token ids -> logits (tokens, vocabulary) after each."""
        if not has_torch():
            from tests.backends.keras.reference import NumpyModel

            return NumpyModel(self._path).logits
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self._path, dtype=torch.float32).eval()

        def logits(token_ids: list[int]) -> np.ndarray:
            with torch.inference_mode():
                return model(torch.tensor([token_ids])).logits[0].float().numpy()

        return logits

    def assert_greedy(self, prompt: list[int], answer: list[int]) -> None:
        """Every token of `answer` is the best one after what stands before it, or as good as the
        best.
        """
        logits = self._logits([*prompt, *answer])
        for at, token in enumerate(answer):
            row = logits[len(prompt) + at - 1]
            assert row.max() - row[token] < MARGIN, (
                f"token {at}: {token}, best is {int(row.argmax())}"
            )

    def logprobs(self, prompt: list[int], answer: list[int]) -> list[float]:
        """The log probability of each token of `answer` after `prompt`."""
        rows = self._logits([*prompt, *answer])[len(prompt) - 1 : -1].astype(np.float64)
        rows -= rows.max(-1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
        return [float(row[token]) for row, token in zip(rows, answer, strict=True)]
