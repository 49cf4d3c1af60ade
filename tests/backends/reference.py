"""What an engine's tokens are held against: transformers in float32, one request at a time."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

MARGIN = 1e-3  # two logits nearer than this may come in either order
DEMO = Path(__file__).parents[2] / "openllm" / "demo"


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def model_directory(path: Path) -> Path:
    """A tiny random model written to `path`; the demo model where there is no torch to write one."""
    if not has_torch():
        return DEMO
    from tests.tiny import write_llama

    write_llama(path)
    return path


class Reference:
    """The model in `path` through transformers. A test that needs it skips where torch is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _model(self) -> Any:
        if not has_torch():
            pytest.skip("comparing with transformers needs torch: pip install torch")
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self._path, dtype=torch.float32).eval()

    def _logits(self, token_ids: list[int]) -> Any:
        model = self._model
        import torch

        with torch.inference_mode():
            return model(torch.tensor([token_ids])).logits[0].float()

    def assert_greedy(self, prompt: list[int], answer: list[int]) -> None:
        """Every token of `answer` is the best one after what stands before it, or as good as the best."""
        logits = self._logits([*prompt, *answer])
        for at, token in enumerate(answer):
            row = logits[len(prompt) + at - 1]
            assert row.max() - row[token] < MARGIN, f"token {at}: {token}, best is {int(row.argmax())}"

    def logprobs(self, prompt: list[int], answer: list[int]) -> list[float]:
        """The log probability of each token of `answer` after `prompt`."""
        rows = self._logits([*prompt, *answer]).log_softmax(-1)
        return [float(rows[len(prompt) + at - 1, token]) for at, token in enumerate(answer)]
