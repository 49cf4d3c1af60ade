"""The body of a request for a response, with what is kept of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature
from openllm.http.body.conversation import read_template_kwargs
from openllm.http.body.fields import Fields, required
from openllm.http.body.sampling import add_limit
from openllm.http.body.structure import read_form
from openllm.http.exchange import Exchange
from openllm.protocols.openai.messages import MAX_EFFORT, NO_EFFORT, with_effort
from openllm.protocols.openai.params import BUDGETS, Handling, read_rest, read_sampling
from openllm.protocols.openai.responses.items import (
    MAX_ID,
    messages_of,
    read_items,
    reread,
)
from openllm.protocols.openai.responses.store import Item, Store, T, Thread
from openllm.protocols.openai.responses.tools import Declared, read_declared
from openllm.types import Conversation, Structure

PREVIOUS = "previous_response_id"
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512  # of metadata
LOGPROBS = "message.output_text.logprobs"
# What `include` may ask for and no answer here has.
_ABSENT = frozenset(
    (
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "web_search_call.action.sources",
        "web_search_call.results",
    )
)


@attrs.frozen
class Question:
    """What a model is asked, by any route."""

    model: str | None
    conversation: Conversation
    items: list[Item]  # the new ones
    structure: Structure | None
    previous: str | None
    thread: Thread | None  # the conversation that the answer is added to
    cut: bool  # the earliest turns are left out where all do not fit
    shown: dict[str, Any]  # as fields of the response


@attrs.frozen
class ResponseRequest:
    """A parsed body."""

    asked: Question
    overrides: dict[str, Any]
    stream: bool
    store: bool
    background: bool
    top_logprobs: int | None
    handling: Handling
    budget: str | None  # the field that says how long it may think
    shown: Mapping[str, Any]  # fields of the response


async def read_apart(
    exchange: Exchange,
    read: Callable[[Fields, Settings, Store, str], T],
    fields: Fields,
    settings: Settings,
    store: Store,
) -> T:
    """What `read` makes of a body and of what is kept: where the one or the other is read. Errors:
    those of `read`.
    """
    asked = (fields, settings, store, exchange.owner)
    if exchange.large_body:
        return await exchange.apart(read, *asked)
    return await store.apart(read, *asked)


def read_response(fields: Fields, settings: Settings, store: Store, owner: str) -> ResponseRequest:
    """The body of a request for a response. Errors: InvalidRequest, UnsupportedFeature, NotFound;
    each names its field.
    """
    said = fields.said("store")
    keep = fields.flag("store", default=True)
    if keep and said and fields.strict:
        store.require("store")
    stream, background = _read_delivery(fields, keep)
    if background:
        store.require("background")
    _refuse_others(fields)
    budget = next((name for name in BUDGETS if fields.said(name)), None)
    overrides = read_sampling(fields, settings)
    add_limit(fields, "max_output_tokens", overrides)
    top = _read_logprobs(fields, settings)
    if top is not None:
        overrides["logprobs"] = top
    shown: dict[str, Any] = {
        "max_output_tokens": overrides.get("max_tokens"),
        "metadata": read_metadata(fields) or {},
        "top_logprobs": top or 0,
    }
    for name in ("prompt_cache_key", "safety_identifier", "user"):
        shown[name] = fields.text(name)
    asked = read_asked(fields, settings, store, owner)
    if asked.structure is not None:
        if "structure" in overrides:
            fields.bad("structured_outputs", "cannot go together with text.format")
        overrides["structure"] = asked.structure
    if asked.shown["reasoning"]["effort"] == NO_EFFORT:
        overrides.setdefault("thinking_budget", 0)
    fields.pass_over("return_token_ids", "Use chat completions.", False)
    handling = read_rest(fields)
    fields.ignore("client_metadata", "background_options", "max_tool_calls")
    fields.close()
    return ResponseRequest(
        asked,
        overrides,
        stream=stream,
        store=keep and store.enabled,
        background=background,
        top_logprobs=top,
        handling=handling,
        budget=budget,
        shown={**shown, **asked.shown},
    )


def _read_delivery(fields: Fields, keep: bool) -> tuple[bool, bool]:
    """How the answer comes: streamed, in the background."""
    stream = fields.flag("stream")
    options = fields.object("stream_options")
    if options is not None:
        options.ignore("include_obfuscation")
        options.close()
    background = fields.flag("background")
    if background and not keep:
        fields.bad("background", "needs store to be true")
    if stream and background:
        raise UnsupportedFeature(
            "background cannot be streamed here.",
            hint="Set stream to false and ask for the response until it is complete.",
            param=fields.path("background"),
        )
    return stream, background


def _refuse_others(fields: Fields) -> None:
    fields.refuse("n", "Send several requests.", 1)
    fields.refuse("prompt", "Send instructions and input.")
    fields.refuse("moderation", "This server has no moderation.")
    fields.refuse("response_format", "Use text.format.")
    fields.refuse("prompt_logprobs", "Use chat completions.")
    fields.pass_over("context_management", "Set truncation to auto.")


def read_asked(fields: Fields, settings: Settings, store: Store, owner: str) -> Question:
    """What the model is asked. Errors: InvalidRequest, UnsupportedFeature, NotFound."""
    model = fields.text("model")
    instructions = fields.text("instructions")
    items = read_items(fields, "input", lambda name, path: store.item(owner, name, path))
    previous = fields.text(PREVIOUS, longest=MAX_ID)
    thread = _read_thread(fields, store, owner)
    earlier: list[Item] = []
    if previous is not None:
        if thread is not None:
            fields.bad("conversation", f"cannot go together with {PREVIOUS}")
        earlier = store.history(owner, previous, PREVIOUS)
    elif thread is not None:
        earlier = list(thread.items())
    messages = messages_of([*reread(earlier), *items], instructions)
    if not messages:
        fields.bad("input", "must not be empty")
    declared = read_declared(fields)
    effort, reasoning = _read_reasoning(fields)
    structure, text = _read_text(fields)
    kwargs = read_template_kwargs(fields, settings)
    conversation = with_effort(
        Conversation(messages, declared.tools, template_kwargs=kwargs, tool_use=declared.use),
        effort,
    )
    truncation = fields.choice("truncation", "auto", "disabled") or "disabled"
    shown = {
        "instructions": instructions,
        PREVIOUS: previous,
        "conversation": None if thread is None else {"id": thread.id},
        "reasoning": reasoning,
        "text": text,
        "truncation": truncation,
        **_shown_tools(declared),
    }
    new = [read.item for read in items]
    return Question(
        model, conversation, new, structure, previous, thread, truncation == "auto", shown
    )


def _shown_tools(declared: Declared) -> dict[str, Any]:
    parallel = declared.use.parallel
    return {
        "parallel_tool_calls": True if parallel is None else parallel,
        "tool_choice": declared.choice,
        "tools": declared.shown,
    }


def _read_thread(fields: Fields, store: Store, owner: str) -> Thread | None:
    """`conversation`: its id, or an object with it."""
    value = fields.raw("conversation")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"id": value}
    said = fields.entry(value, fields.path("conversation"))
    name = required(said, "id", said.text("id", longest=MAX_ID))
    said.close()
    return store.thread(owner, name, "conversation")


def _read_reasoning(fields: Fields) -> tuple[str | None, dict[str, Any]]:
    """The effort; and `reasoning` as the response shows it."""
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return None, {"effort": None, "summary": None}
    effort = reasoning.text("effort", longest=MAX_EFFORT)
    for name in ("summary", "generate_summary"):
        reasoning.pass_over(name, "A thought comes whole, as content.")
    reasoning.close()
    return effort, {"effort": effort, "summary": None}


def _read_text(fields: Fields) -> tuple[Structure | None, dict[str, Any]]:
    """What the text must look like; and `text` as the response shows it."""
    shown: dict[str, Any] = {"format": {"type": "text"}, "verbosity": None}
    text = fields.object("text")
    if text is None:
        return None, shown
    structure = None
    form = text.mapping("format")
    if form is not None:
        structure = read_form(text.entry(form, text.path("format")), schema=None)
        shown["format"] = {name: value for name, value in form.items() if value is not None}
        if form.get("type") == "json_schema":
            shown["format"].setdefault("name", "answer")
    text.pass_over("verbosity", "Say it in a message.", "medium")
    text.close()
    return structure, shown


def _read_logprobs(fields: Fields, settings: Settings) -> int | None:
    """How many alternatives of each token are wanted; None: not even the token's own."""
    top = fields.integer("top_logprobs", 0, settings.max_logprobs)
    include = fields.texts("include", most=64, longest=MAX_ID) or ()
    for name in include:
        if name != LOGPROBS and name not in _ABSENT:
            if fields.strict:
                fields.bad("include", f"there is no {name!r} here")
            fields.note(f"include.{name}")
    return (top or 0) if top or LOGPROBS in include else None


def read_metadata(fields: Fields) -> dict[str, str] | None:
    """`metadata`: texts under names. Errors: InvalidRequest."""
    found = fields.mapping("metadata", most=MAX_PAIRS)
    for name, value in (found or {}).items():
        if not isinstance(value, str) or len(value) > MAX_VALUE or len(name) > MAX_KEY:
            fields.bad(
                "metadata",
                f"must hold texts of at most {MAX_VALUE} characters under names of at most"
                f" {MAX_KEY}",
            )
    return found
