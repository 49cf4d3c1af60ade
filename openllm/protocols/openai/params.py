"""OpenAI's and vLLM's own fields of a request for text, beside those of `SamplingParams`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body import sampling
from openllm.http.body.fields import Fields
from openllm.http.body.sampling import OPTIONS, read_options
from openllm.http.body.structure import read_structure
from openllm.types import RequestOptions

# Known, and without any effect on the answer.
HARMLESS = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "prediction",
)
_SAMPLES = "This server samples; ask for several choices."
_TEXT_ONLY = "This server answers with text only."
# What would be another answer: why it is refused, and the values by which it is not asked for.
_REFUSED: Mapping[str, tuple[str, Sequence[Any]]] = {
    "modalities": (_TEXT_ONLY, (["text"],)),
    "audio": (_TEXT_ONLY, ()),
    "use_beam_search": (_SAMPLES, (False,)),
    "length_penalty": (_SAMPLES, (1, 1.0)),
    "early_stopping": (_SAMPLES, (False,)),
}
# What is not acted on, with the values that ask for nothing.
_PASSED_OVER: Mapping[str, Sequence[Any]] = {
    "spaces_between_special_tokens": (True,),
    "include_reasoning": (True,),
    "logits_processors": ([],),
    "mm_processor_kwargs": ({},),
    "vllm_xargs": ({},),
}
_REST = frozenset((*HARMLESS, *_REFUSED, *_PASSED_OVER, *OPTIONS, "return_token_ids", "request_id"))
# The thinking budget: ours, vLLM's.
BUDGETS = ("thinking_budget", "thinking_token_budget")


@attrs.frozen
class StreamOptions:
    """Whether and how an answer is streamed."""

    stream: bool = False
    include_usage: bool = False  # with the last chunk
    usage_so_far: bool = False  # with every chunk


def read_sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Overrides by `SamplingParams`' names, only what was said. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    said = sampling.read_sampling(fields, settings)
    if fields.flag("include_stop_str_in_output"):
        said["include_stop"] = True
    sampling.add_limit(fields, BUDGETS[1], said, BUDGETS[0], least=0)
    structure = read_structure(fields, "response_format", "structured_outputs")
    return said if structure is None else {**said, "structure": structure}


def read_stream(fields: Fields) -> StreamOptions:
    """`stream` and `stream_options`. Errors: InvalidRequest."""
    stream = fields.flag("stream")
    options = fields.object("stream_options")
    if options is None:
        return StreamOptions(stream)
    if not stream and fields.strict:
        fields.bad("stream_options", "needs stream to be true")
    usage = options.flag("include_usage")
    so_far = options.flag("continuous_usage_stats")
    options.ignore("include_obfuscation")
    options.close()
    return StreamOptions(stream, usage or so_far, so_far)


@attrs.frozen
class Handling:
    """What one request says beside its prompt and its sampling."""

    request_id: str | None
    options: RequestOptions
    token_ids: bool  # they are shown beside the text


_AS_USUAL = Handling(None, RequestOptions(), token_ids=False)


def read_rest(fields: Fields) -> Handling:
    """What vLLM's clients say of a request's handling; and what changes no answer is taken out.
    Errors: InvalidRequest, UnsupportedFeature.
    """
    if fields.silent(_REST):
        return _AS_USUAL
    fields.ignore(*HARMLESS)
    for name, (hint, neutral) in _REFUSED.items():
        fields.refuse(name, hint, *neutral)
    for name, neutral in _PASSED_OVER.items():
        fields.pass_over(name, "Leave it out.", *neutral)
    token_ids = fields.flag("return_token_ids")
    return Handling(fields.text("request_id"), read_options(fields), token_ids)
