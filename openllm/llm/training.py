"""A served model as one to be fine-tuned, for any trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from openllm.config.spec import LLMSpec


class Trainable(Protocol):
    """What training needs of an LLM; no engine."""

    @property
    def spec(self) -> LLMSpec: ...

    @property
    def weights_dir(self) -> Path: ...

    @property
    def tokenizer(self) -> Any: ...


class LoraOptions(TypedDict, total=False):
    """What is to be trained: `LoraPlan`'s fields."""

    rank: int  # 8 unless said
    alpha: int | None  # None: twice the rank
    dropout: float  # 0 unless said
    targets: Sequence[str]  # last names of layers ("q_proj"); none: every linear layer
    gradient_checkpointing: bool  # compute activations twice instead of keeping them


def prepare(llm: Trainable, **options: Unpack[LoraOptions]) -> tuple[Any, Any]:
    """A new `peft.PeftModel` of these weights with untrained LoRA matrices, and the tokenizer; for
    any trainer.

    What it saves can be mounted. The engine is neither needed nor touched. Errors:
    MissingDependency, WeightsError, ConfigurationError.
    """
    from openllm.backends.pytorch.loading.training import LoraPlan, prepare_model

    return prepare_model(llm.spec, llm.weights_dir, LoraPlan(**options)), llm.tokenizer
