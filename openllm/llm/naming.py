"""What is written in code for a model, a name or a path and options, as one LLMSpec."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from openllm.config import settings
from openllm.config.hf_options import translate_options
from openllm.config.spec import LLMSpec, is_path
from openllm.errors import ConfigurationError
from openllm.llm.resolve import Layers, resolve_model
from openllm.types import SamplingParams

ModelId = str | os.PathLike[str]  # as callers may write it
# Sampling parameters that may stand among an LLM's options; `seed` there is the engine's.
SAMPLING_NAMES = frozenset({"max_new_tokens", *attrs.fields_dict(SamplingParams)}) - {"seed"}


def spec_for(model: ModelId | None, options: Mapping[str, Any]) -> LLMSpec:
    """The spec of a model named in code: options, then `OPENLLM_*` variables, then what its family
    says.

    Options may hold sampling parameters too (`max_new_tokens=512`): they become the defaults of
    requests; and the names of transformers' `from_pretrained`. Errors: ConfigurationError,
    UnknownFamily.
    """
    options = {
        key: _text(value) if key == "model_id" else value
        for key, value in translate_options(options).items()
    }
    explicit = {key: value for key, value in options.items() if key not in SAMPLING_NAMES}
    sampling = {key: value for key, value in options.items() if key in SAMPLING_NAMES}
    if sampling:
        explicit["sampling"] = {**explicit.get("sampling", {}), **sampling}
    return resolve_model(
        _text(model), Layers(explicit, settings.spec_layer()), settings.Settings.from_env()
    )


def _text(model: ModelId | None) -> str | None:
    """A path as text. Errors: ConfigurationError for what is neither."""
    if model is None or isinstance(model, str):
        return model
    if not isinstance(model, os.PathLike):
        raise ConfigurationError(
            f"A model cannot be {model!r}.", hint="Name a directory, a Hub id or a family."
        )
    path = os.fspath(model)
    return path if is_path(path) else f"./{path}"  # a Path("gpt2") is no Hub id
