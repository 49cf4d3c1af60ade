"""OpenAI's and vLLM's own fields of a request for text, beside those of `SamplingParams`."""

from __future__ import annotations

from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body import sampling
from openllm.http.body.fields import Fields
from openllm.http.body.structure import read_structure

# Known, and without any effect on the answer.
_HARMLESS = (
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
# The thinking budget: ours, vLLM's.
BUDGETS = ("thinking_budget", "thinking_token_budget")


@attrs.frozen
class StreamOptions:
    """Whether and how an answer is streamed."""

    stream: bool = False
    include_usage: bool = False


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
    options.ignore("include_obfuscation")
    options.pass_over(
        "continuous_usage_stats", "Usage comes with the last chunk; set include_usage.", False
    )
    options.close()
    return StreamOptions(stream, usage)


def ignore_harmless(fields: Fields) -> None:
    """Take out what does not change an answer."""
    fields.ignore(*_HARMLESS)
