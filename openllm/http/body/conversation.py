"""Messages and tools as chat templates know them, to the `Conversation` that one renders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature, field
from openllm.http.body.fields import Fields, kind_of, nested, required
from openllm.prompt.messages import text_key
from openllm.types import Conversation, Message

MAX_MESSAGES = 8192
MAX_TOOLS = 512
ROLES = ("system", "developer", "user", "assistant", "tool")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def read_conversation(fields: Fields, settings: Settings) -> Conversation:
    """messages, tools and what steers the template. Errors: InvalidRequest, UnsupportedFeature."""
    entries = required(fields, "messages", fields.objects("messages", most=MAX_MESSAGES))
    if not entries:
        fields.bad("messages", "must not be empty")
    messages = tuple(_message(entry) for entry in entries)
    tools = _tools(fields)
    go_on = fields.flag("continue_final_message")
    prompt = fields.flag("add_generation_prompt", default=not go_on)
    if go_on and prompt:
        fields.bad("continue_final_message", "cannot go together with add_generation_prompt")
    if go_on and messages[-1].role != "assistant":
        fields.bad("continue_final_message", "needs an assistant message at the end")
    fields.refuse("chat_template", "The operator sets it when the model is started.")
    kwargs = fields.mapping("chat_template_kwargs", most=64) or {}
    if kwargs and not settings.trust_request_chat_template:
        path = fields.path("chat_template_kwargs")
        hint = "The operator allows it with OPENLLM_TRUST_REQUEST_CHAT_TEMPLATE=true."
        raise UnsupportedFeature(f"{path} is not allowed here.", hint=hint, param=path)
    return Conversation(messages, tools, prompt, go_on, kwargs)


def _message(fields: Fields) -> Message:
    role = required(fields, "role", fields.choice("role", *ROLES))
    content = _content(fields)
    name = fields.text("name", longest=256)
    calls = _tool_calls(fields) if role == "assistant" else None
    call_id = fields.text("tool_call_id", longest=256) if role == "tool" else None
    if role == "assistant":  # what a client got from an answer, sent back as it is
        fields.ignore("refusal", "annotations")
        fields.refuse("audio", "Send text.")
        fields.refuse("function_call", "Use tool_calls.")
    if content is None and not calls:
        fields.bad("content", "is required")
    fields.close()
    # Templates know "system"; "developer" is a later name for it.
    return Message("system" if role == "developer" else role, content or "", name, calls, call_id)


def _content(fields: Fields) -> str | None:
    """A text, or text parts joined by line breaks."""
    value = fields.raw("content")
    if value is None:
        return None
    if isinstance(value, str):
        fields.check_text("content", value)
        return value
    if not isinstance(value, list):
        fields.bad("content", f"must be a string or an array of text parts, not {kind_of(value)}")
    path = fields.path("content")
    return "\n".join(_part(nested(item, f"{path}[{at}]")) for at, item in enumerate(value))


def _part(fields: Fields) -> str:
    kind = required(fields, "type", fields.text("type", longest=64))
    key = text_key(kind, fields.path("type"))
    text: str = required(fields, key, fields.text(key))
    fields.ignore("cache_control", "annotations", "logprobs")
    fields.close()
    return text


def _tool_calls(fields: Fields) -> list[Mapping[str, Any]] | None:
    entries = fields.objects("tool_calls", most=MAX_TOOLS)
    return [_tool_call(entry) for entry in entries] if entries else None


def _tool_call(fields: Fields) -> Mapping[str, Any]:
    fields.choice("type", "function")
    fields.ignore("index")
    call_id = required(fields, "id", fields.text("id", longest=256))
    function = required(fields, "function", fields.object("function"))
    name = _tool_name(function)
    arguments = function.raw("arguments")
    function.close()
    fields.close()
    if isinstance(arguments, str):  # clients send them as text, templates want the object
        try:
            arguments = msgspec.json.decode(arguments or "{}")
        except (msgspec.MsgspecError, RecursionError):
            function.bad("arguments", "must be JSON")
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments or {}},
    }


def _tool_name(function: Fields) -> str:
    name: str = required(function, "name", function.text("name"))
    if not _TOOL_NAME.fullmatch(name):
        function.bad("name", "must be 1 to 128 letters, digits, or one of _ . : -")
    return name


def _tools(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """The tools that the template shows; none of them when the model must not call any."""
    tools = [_tool(entry) for entry in fields.objects("tools", most=MAX_TOOLS) or ()]
    fields.flag("parallel_tool_calls")
    choice = fields.raw("tool_choice")
    if choice not in (None, "none", "auto"):
        path = fields.path("tool_choice")
        raise UnsupportedFeature(
            f"{path} must be none or auto here.",
            hint=f"Constrain the answer with {field('structure')}.",
            param=path,
        )
    if choice == "auto" and not tools:
        fields.bad("tool_choice", "needs tools")
    return () if choice == "none" else tuple(tools)


def _tool(fields: Fields) -> Mapping[str, Any]:
    kind = required(fields, "type", fields.text("type", longest=64))
    if kind != "function":
        path = fields.path("type")
        raise UnsupportedFeature(f"{path}: only function tools are supported.", param=path)
    function = required(fields, "function", fields.object("function"))
    tool: dict[str, Any] = {"name": _tool_name(function)}
    tool["description"] = function.text("description")
    tool["parameters"] = function.mapping("parameters")
    function.refuse("strict", f"Constrain the answer with {field('structure')}.", False)
    function.close()
    fields.close()
    return {
        "type": "function",
        "function": {key: value for key, value in tool.items() if value is not None},
    }
