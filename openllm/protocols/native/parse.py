"""The body of a native request.

It has `prompt` (a text or token ids) or `messages`, optionally `adapter_name` and `model`, and
`SamplingParams`' fields, either beside them or in `llm_config` (where max_tokens may be called
max_new_tokens).
"""

from __future__ import annotations

from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body.conversation import read_conversation
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import read_prompts
from openllm.http.body.sampling import add_limit, read_options, read_sampling
from openllm.http.body.structure import read_structure
from openllm.protocols.native.earlier import drop_unset
from openllm.types import Conversation, Prompt, RequestOptions


@attrs.frozen
class NativeRequest:
    """A parsed body."""

    model: str | None
    adapter: str | None
    prompt: Prompt
    overrides: dict[str, Any]
    add_special_tokens: bool
    options: RequestOptions
    request_id: str | None


def read_native(fields: Fields, settings: Settings) -> NativeRequest:
    """The body of a native request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model, adapter = fields.text("model"), fields.text("adapter_name")
    prompt = _prompt(fields, settings)
    overrides = _sampling(fields, settings)
    nested = fields.object("llm_config")
    if nested is not None:
        drop_unset(nested)
        overrides = {**_sampling(nested, settings), **overrides}
        nested.close()
    add_special_tokens = fields.flag("add_special_tokens", default=True)
    options, request_id = read_options(fields), fields.text("request_id")
    fields.close()
    return NativeRequest(model, adapter, prompt, overrides, add_special_tokens, options, request_id)


def _prompt(fields: Fields, settings: Settings) -> Prompt:
    if fields.said("messages"):
        conversation: Conversation = read_conversation(fields, settings)
        fields.refuse("prompt", "Send prompt or messages.")
        return conversation
    prompts = read_prompts(fields, "prompt", settings)
    if len(prompts) > 1:
        fields.bad("prompt", "must be one text or one list of token ids")
    return prompts[0]


def _sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    overrides = read_sampling(fields, settings)
    if fields.flag("include_stop_str_in_output"):
        overrides["include_stop"] = True
    structure = read_structure(fields, "response_format", "structured_outputs")
    if structure is not None:
        overrides["structure"] = structure
    logprobs = fields.integer("logprobs", 0, settings.max_logprobs)
    if logprobs is not None:
        overrides["logprobs"] = logprobs
    add_limit(fields, "max_new_tokens", overrides)
    return overrides
