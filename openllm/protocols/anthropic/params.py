"""The fields of a request beside its messages and tools: sampling, thinking, the answer's form."""

from __future__ import annotations

from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body import sampling
from openllm.http.body.fields import Fields, required
from openllm.http.body.structure import read_form
from openllm.http.catalog import Target
from openllm.llm.formats import reasoning_of
from openllm.types import Conversation, Structure

EFFORT = "reasoning_effort"  # what templates call it
_THINKING = ("enabled", "disabled", "adaptive", "between_tools")
# Known, and without any effect on the answer.
_HARMLESS = (
    "cache_control",
    "diagnostics",
    "inference_geo",
    "metadata",
    "service_tier",
    "user_profile_id",
    "workspace_id",
)


@attrs.frozen
class Thinking:
    """What a request says of the thought before its answer."""

    template_kwargs: dict[str, Any] = attrs.field(factory=dict)
    budget: int | None = None  # in tokens
    omitted: bool = False  # the answer says that there was one, and not what it was


def read_sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Overrides by `SamplingParams`' names, only what was said. Errors: InvalidRequest."""
    said = sampling.read_plain(fields)
    said["max_tokens"] = fields.integer("max_tokens", 1, sampling.MAX_INT)
    if fields.strict:
        required(fields, "max_tokens", said["max_tokens"])
    stops = fields.texts(
        "stop_sequences", most=settings.max_stop, longest=sampling.MAX_STOP_CHARACTERS
    )
    said["stop"] = stops if fields.strict else tuple(filter(None, stops or ()))
    return {name: value for name, value in said.items() if value not in (None, ())}


def read_thinking(fields: Fields) -> Thinking:
    """`thinking`, as the arguments that templates have for it. Errors: InvalidRequest."""
    thinking = fields.object("thinking")
    if thinking is None:
        return Thinking()
    kind = required(thinking, "type", thinking.choice("type", *_THINKING))
    budget = thinking.integer("budget_tokens", 0, sampling.MAX_INT)
    omitted = thinking.choice("display", "summarized", "omitted") == "omitted"
    thinking.close()
    thinks = kind != "disabled"
    kwargs: dict[str, Any] = dict.fromkeys(("enable_thinking", "thinking"), thinks)
    return Thinking(kwargs, budget if thinks else 0, omitted)


def read_output(fields: Fields) -> tuple[str | None, Structure | None]:
    """`output_config`: the effort, and the JSON schema of its `format` (or of `output_format`, as
    betas called it). Errors: InvalidRequest.
    """
    effort = form = None
    config = fields.object("output_config")
    if config is not None:
        effort = config.text("effort", longest=32)
        form = config.object("format")
        config.close()
    form = form or fields.object("output_format")
    return effort, None if form is None else read_form(form, schema=None)


def ignore_others(fields: Fields) -> None:
    """Take out what does not change an answer, and what only the vendor's own servers do."""
    fields.ignore(*_HARMLESS)
    fields.pass_over("context_management", "The conversation is taken as it is sent.")
    fields.pass_over("container", "This server runs no code.")
    fields.pass_over("mcp_servers", "Send their tools as tools.", [])
    fields.pass_over("speed", "There is one speed.", "standard")


def note_thinking(fields: Fields, conversation: Conversation, target: Target) -> None:
    """Note a thought, or an effort, that was asked for where the model's template knows none."""
    kwargs, tools = conversation.template_kwargs, bool(conversation.tools)
    if kwargs.get("enable_thinking") and reasoning_of(target.llm, tools=tools) is None:
        fields.note("thinking")
    if kwargs.get(EFFORT) and EFFORT not in target.llm.renderer.source(tools=tools):
        fields.note("output_config.effort")
