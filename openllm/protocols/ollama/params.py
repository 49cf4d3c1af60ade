"""The fields that Ollama's chat and generate have in common: options, format, think, logprobs."""

from __future__ import annotations

from typing import Any

import msgspec

from openllm.answer.formats import shown_by
from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, kind_of
from openllm.http.body.sampling import MAX_INT, MAX_STOP_CHARACTERS
from openllm.http.body.structure import MAX_CHARACTERS
from openllm.http.catalog import Target
from openllm.types import Structure, StructureKind

# Called otherwise than in `SamplingParams`, or the same.
_SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
# How llama.cpp loads and runs a model: the operator's here, and without effect on the answer.
_OF_THE_MACHINE = (
    "numa",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mmap",
    "use_mlock",
    "embedding_only",
    "num_thread",
    "num_keep",
)
_NO_SUCH_SAMPLER = "The engines here have temperature, top_k, top_p, min_p and penalties."
# Options that sample in ways of llama.cpp's, and the values with which they do nothing.
_OTHER_SAMPLERS: dict[str, tuple[Any, ...]] = {
    "mirostat": (0,),
    "tfs_z": (1.0,),
    "typical_p": (1.0,),
    "repeat_last_n": (64, -1),
    "penalize_newline": (True,),
}


def read_options(fields: Fields, settings: Settings) -> dict[str, Any]:
    """`options` as overrides by `SamplingParams`' names, only what was said. Errors:
    InvalidRequest.
    """
    options = fields.object("options")
    if options is None:
        return {}
    said = {
        _SAMPLING[name]: options.whole(value)
        for name, value in options.present(tuple(_SAMPLING)).items()
    }
    limit = options.integer("num_predict", -2, MAX_INT)
    if limit is not None and limit > 0:  # less is Ollama's word for any length
        said["max_tokens"] = limit
    stop = options.texts("stop", most=settings.max_stop, longest=MAX_STOP_CHARACTERS)
    if wanted := tuple(text for text in stop or () if text):
        said["stop"] = wanted
    _take_habits(said)
    options.pass_over("num_ctx", "The operator sets the context's length.")
    for name, neutral in _OTHER_SAMPLERS.items():
        options.pass_over(name, _NO_SUCH_SAMPLER, *neutral)
    options.ignore("mirostat_tau", "mirostat_eta", *_OF_THE_MACHINE)
    options.close()
    return said


def _take_habits(said: dict[str, Any]) -> None:
    """A seed of -1 means any; top_p 0 means the likeliest token alone."""
    if said.get("seed") == -1:
        del said["seed"]
    if said.get("top_p") == 0 and not isinstance(said["top_p"], bool):
        del said["top_p"]
        said["top_k"] = 1


def read_format(fields: Fields) -> Structure | None:
    """`format`: "json", or a JSON schema. Errors: InvalidRequest."""
    value = fields.raw("format")
    if value is None or value == "":
        return None
    if value == "json":
        return Structure(StructureKind.JSON_OBJECT)
    if not isinstance(value, dict):
        fields.bad("format", f'must be "json" or a JSON schema, not {kind_of(value)}')
    schema = msgspec.json.encode(value).decode()
    if len(schema) > MAX_CHARACTERS:
        fields.bad("format", f"has {len(schema)} characters; at most {MAX_CHARACTERS} are allowed")
    return Structure(StructureKind.JSON_SCHEMA, schema)


def read_think(fields: Fields) -> dict[str, Any]:
    """`think` as arguments of the chat template, under the names that templates have for it: true
    or false, or how much ("low", "medium", "high"). Errors: InvalidRequest.
    """
    value = fields.raw("think")
    if value is None or value == "":
        return {}
    if isinstance(value, bool):
        return {"enable_thinking": value, "thinking": value}
    if not isinstance(value, str) or len(value) > 32:
        fields.bad("think", 'must be true, false, "low", "medium" or "high"')
    return {"enable_thinking": True, "thinking": True, "reasoning_effort": value}


def note_think(fields: Fields, kwargs: dict[str, Any], target: Target) -> None:
    """Note a `think` that asks for what the model's template has no thoughts for."""
    if kwargs.get("enable_thinking") and not thinks(target):
        fields.note("think")


def thinks(target: Target) -> bool:
    """Whether the model's chat template shows how it marks its thoughts."""
    return shown_by("reasoning", target.llm.renderer.source(tools=False)) is not None


def read_logprobs(fields: Fields, settings: Settings) -> int | None:
    """How many alternatives of each token; None: no logprobs. Errors: InvalidRequest."""
    wanted = fields.flag("logprobs")
    top = fields.integer("top_logprobs", 0, settings.max_logprobs)
    if top and not wanted:
        fields.bad("top_logprobs", "needs logprobs to be true")
    return (top or 0) if wanted else None
