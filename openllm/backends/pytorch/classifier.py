"""Logits of texts and pairs of texts, by a sequence-classification model of transformers, or by a
language model whose answer is yes or no.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.padding import batches, check_inputs, padded
from openllm.types import EncodedText
from openllm.weights.modules import LogitScore


class Classifier:
    """Runs the model with its head; the logits are its labels'. Stateless but for the model."""

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


class Answers(Classifier):
    """Scores by a language model: one logit, that of the token for yes after the text, less that of
    the token for no where the model's files name one (sentence-transformers' LogitScore).
    """

    def __init__(self, loaded: LoadedModel, score: LogitScore) -> None:
        super().__init__(loaded)
        self._score = score
        self._placed = "position_ids" in inspect.signature(loaded.model.forward).parameters
        if self._filling is None:
            self._filling = 0  # what is padded is masked: no head looks for it here

    def logits(self, inputs: Sequence[EncodedText]) -> list[list[float]]:
        """One forward pass over prompts that end together: `[inputs, 1]` in fp32."""
        ids, mask = padded([one.token_ids[::-1] for one in inputs], self._filling or 0)
        ids, mask = ids.flip(-1).to(self._device), mask.flip(-1).long().to(self._device)
        places = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)} if self._placed else {}
        with torch.inference_mode():
            found = self._model(
                **self._always, **places, input_ids=ids, attention_mask=mask, logits_to_keep=1
            )
            last = found.logits[:, -1].float()
            scores = last[:, self._score.true_token]
            if self._score.false_token is not None:
                scores = scores - last[:, self._score.false_token]
            rows: list[list[float]] = scores[:, None].tolist()
        return rows


def classifier_of(loaded: LoadedModel, score: LogitScore | None) -> Classifier:
    """What gives the logits of a model whose files say `score`, or nothing of the kind."""
    return Classifier(loaded) if score is None else Answers(loaded, score)
