"""Logits of texts and pairs of texts, by a sequence-classification model of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.padding import batches, check_inputs, padded
from openllm.types import EncodedText


class Classifier:
    """Runs the model with its head. Stateless but for the model."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model, self._device, self._context = loaded.model, loaded.device, loaded.context
        taken = inspect.signature(loaded.model.forward).parameters
        self._typed = "token_type_ids" in taken
        self._always: dict[str, Any] = {"use_cache": False} if "use_cache" in taken else {}
        # A decoder looks at the last token that is no padding. Where none is named, transformers
        # takes one input at a time.
        self._filling = loaded.model.config.get_text_config(decoder=True).pad_token_id

    def check(self, inputs: Sequence[EncodedText], vocab_size: int) -> None:
        """Errors: InvalidRequest."""
        check_inputs([one.token_ids for one in inputs], self._context, vocab_size)

    def batches(self, inputs: Sequence[EncodedText]) -> Iterator[list[int]]:
        """Indices of inputs to run together."""
        if self._filling is None:
            return ([at] for at in range(len(inputs)))
        return batches([len(one.token_ids) for one in inputs])

    def logits(self, inputs: Sequence[EncodedText]) -> list[list[float]]:
        """One forward pass: `[inputs, labels]` in fp32."""
        ids, mask = padded([one.token_ids for one in inputs], self._filling or 0)
        arguments = {**self._always, "input_ids": ids, "attention_mask": mask.long()}
        if self._typed:
            arguments["token_type_ids"] = _types(inputs, ids.shape[1])
        with torch.inference_mode():
            found = self._model(
                **{
                    name: value.to(self._device) if isinstance(value, torch.Tensor) else value
                    for name, value in arguments.items()
                }
            )
            rows: list[list[float]] = found.logits.float().tolist()
        return rows


def _types(inputs: Sequence[EncodedText], length: int) -> torch.Tensor:
    """Token types `[inputs, length]`: 1 from where the second text of a pair begins to its end."""
    types = torch.zeros(len(inputs), length, dtype=torch.long)
    for row, one in enumerate(inputs):
        if one.second is not None:
            types[row, one.second : len(one.token_ids)] = 1
    return types
