"""The fields of a chat beside its messages and tools: sampling, thinking, the answer's form."""

from __future__ import annotations

from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.sampling import MAX_INT, MAX_STOP_CHARACTERS
from openllm.http.body.structure import read_schema
from openllm.http.catalog import Target
from openllm.llm.formats import reasoning_of
from openllm.types import Conversation, RequestOptions, Structure, StructureKind

# Called otherwise than in `SamplingParams`, or the same.
_SAMPLING = {
    "temperature": "temperature",
    "k": "top_k",
    "p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
# What the templates of one model or another call the switch of its thoughts.
_SWITCHES = ("enable_thinking", "thinking", "reasoning")
_NO_CITATIONS: tuple[dict[str, str], ...] = ({}, {"mode": "OFF"}, {"mode": "DISABLED"})


@attrs.frozen
class AskedThought:
    """What a request says of the thought before its answer."""

    template_kwargs: dict[str, Any] = attrs.field(factory=dict)
    budget: int | None = None  # in tokens
    wanted: bool = False  # it asks for thoughts


def read_sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Overrides by `SamplingParams`' names, only what was said. Errors: InvalidRequest."""
    said = {
        _SAMPLING[name]: fields.whole(value)
        for name, value in fields.present(tuple(_SAMPLING)).items()
    }
    if said.get("top_p") == 0 and not isinstance(said["top_p"], bool) and not fields.strict:
        del said["top_p"]
        said["top_k"] = 1  # the likeliest token alone
    limit = fields.integer("max_tokens", 1, MAX_INT)
    if limit is not None:
        said["max_tokens"] = limit
    stop = fields.texts("stop_sequences", most=settings.max_stop, longest=MAX_STOP_CHARACTERS)
    if wanted := tuple(text for text in stop or () if text or fields.strict):
        said["stop"] = wanted
    return said


def read_response_format(fields: Fields) -> Structure | None:
    """`response_format`: any text, or a JSON object, of a schema where one is said. Errors:
    InvalidRequest.
    """
    form = fields.object("response_format")
    if form is None:
        return None
    kind = required(form, "type", form.choice("type", "text", "json_object"))
    # what it was called before version 2
    schema = read_schema(form, "json_schema") or read_schema(form, "schema")
    form.close()
    if kind == "text":
        if schema is not None:
            form.bad("type", "must be json_object where there is a schema")
        return None
    return schema or Structure(StructureKind.JSON_OBJECT)


def read_thinking(fields: Fields) -> AskedThought:
    """`thinking`, as the arguments that templates have for it. Errors: InvalidRequest."""
    thinking = fields.object("thinking")
    if thinking is None:
        return AskedThought()
    kind = required(thinking, "type", thinking.choice("type", "enabled", "disabled"))
    budget = thinking.integer("token_budget", 0, MAX_INT)
    thinking.close()
    wanted = kind == "enabled"
    kwargs: dict[str, Any] = dict.fromkeys(_SWITCHES, wanted)
    return AskedThought(kwargs, budget if wanted else 0, wanted)


def note_thinking(fields: Fields, conversation: Conversation, target: Target) -> None:
    """Note a thought that was asked for where the model's template knows none."""
    if reasoning_of(target.llm, tools=bool(conversation.tools)) is None:
        fields.note("thinking")


def read_options(fields: Fields) -> RequestOptions:
    """How the request is to be handled; and what changes no answer is taken out. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    fields.refuse("raw_prompting", "Ask for the completion of a text.", False)
    fields.pass_over("safety_mode", "Put such instructions into a system message.", "OFF", "NONE")
    fields.pass_over("citation_options", "This server cites nothing.", *_NO_CITATIONS)
    return RequestOptions(priority=fields.integer("priority", -MAX_INT, MAX_INT) or 0)
