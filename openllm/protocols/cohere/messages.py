"""Cohere's messages, documents and tools to a `Conversation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from openllm.http.body.conversation import (
    MAX_DOCUMENTS,
    MAX_MESSAGES,
    ROLES,
    joined,
    read_called,
    read_image,
)
from openllm.http.body.fields import Fields, kind_of, required
from openllm.http.body.tools import MAX_TOOLS, Tools, chosen, nested_tool
from openllm.prompt.messages import text_key
from openllm.types import Conversation, Image, Message, ToolUse

_SCALARS = (str, int, float, bool)
_IMAGE_URL = "image_url"
_PARTS = ("text", "thinking", "document", _IMAGE_URL)


def read_conversation(fields: Fields, template_kwargs: Mapping[str, Any]) -> Conversation:
    """messages, tools, tool_choice, strict_tools and documents. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    entries = required(fields, "messages", fields.objects("messages", most=MAX_MESSAGES))
    if not entries:
        fields.bad("messages", "must not be empty")
    messages = tuple(_message(entry) for entry in entries)
    tools, tool_use = read_tools(fields)
    return Conversation(
        messages,
        tools,
        template_kwargs=template_kwargs,
        tool_use=tool_use,
        documents=_documents(fields),
    )


def read_tools(fields: Fields) -> tuple[Tools, ToolUse]:
    """The tools and what is wanted of them. No tools where none may be called. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    strict: set[str] = set()
    entries = fields.objects("tools", most=MAX_TOOLS) or ()
    tools = tuple(nested_tool(entry, strict) for entry in entries)
    if fields.flag("strict_tools"):
        strict = {tool["function"]["name"] for tool in tools}
    mode = fields.choice("tool_choice", "REQUIRED", "NONE")
    if not tools:
        if mode == "REQUIRED":
            fields.bad("tool_choice", "needs tools")
        return (), ToolUse()
    use = ToolUse(mode == "REQUIRED", strict=frozenset(strict))
    return chosen(fields, tools, None if mode == "NONE" else use)


def _documents(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for at, item in enumerate(fields.items("documents", most=MAX_DOCUMENTS) or ()):
        if isinstance(item, str):
            fields.check_text("documents", item)
            found.append({"text": item})
        else:
            found.append(_document(fields.entry(item, f"{fields.path('documents')}[{at}]")))
    return tuple(found)


def _document(fields: Fields) -> Mapping[str, Any]:
    """The `data` of a document, as texts and numbers: what is more is written as JSON. Its id is
    for citations, of which there are none here. Errors: InvalidRequest.
    """
    data = required(fields, "data", fields.raw("data"))
    if isinstance(data, str):
        data = {"text": data}
    if not isinstance(data, dict) or not data:
        fields.bad("data", f"must be an object that is not empty, not {kind_of(data)}")
    fields.text("id", longest=256)
    fields.close()
    return {
        name: value
        if value is None or isinstance(value, _SCALARS)
        else msgspec.json.encode(value).decode()
        for name, value in data.items()
    }


def _message(fields: Fields) -> Message:
    role = ROLES[required(fields, "role", fields.choice("role", *ROLES))]
    texts, thoughts = _content(fields)
    calls = call_id = None
    if role == "assistant":  # what a client got from an answer, sent back as it is
        calls = _calls(fields)
        plan = fields.text("tool_plan")
        thoughts += [plan] if plan else []
        fields.ignore("citations")
    if role == "tool":
        call_id = fields.text("tool_call_id", longest=256)
    if texts is None and not calls and fields.strict:
        fields.bad("content", "is required")
    fields.close()
    text = None if texts is None else joined(texts)
    if text is None and not calls:
        text = ""
    return Message(role, text, None, calls, call_id, "\n".join(thoughts) or None)


def _content(fields: Fields) -> tuple[list[str | Image] | None, list[str]]:
    """The texts and images of `content` (None where there is none), and the thoughts. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    value = fields.raw("content")
    texts: list[str | Image] = []
    thoughts: list[str] = []
    if value is None:
        return None, thoughts
    if isinstance(value, str):
        fields.check_text("content", value)
        return [value], thoughts
    if not isinstance(value, list):
        fields.bad("content", f"must be a string or an array of parts, not {kind_of(value)}")
    path = fields.path("content")
    for at, item in enumerate(value):
        if isinstance(item, str) and not fields.strict:
            texts.append(item)
        else:
            _part(fields.entry(item, f"{path}[{at}]"), texts, thoughts)
    return texts, thoughts


def _part(part: Fields, texts: list[str | Image], thoughts: list[str]) -> None:
    kind = part.text("type", longest=64, known=_PARTS)
    if kind is None and part.said("document") and not part.strict:
        kind = "document"  # as the client's own type of it was before it had one
    if kind is None and part.said("text") and not part.strict:
        kind = "text"
    kind = required(part, "type", kind)
    if kind == "document":
        inner = required(part, "document", part.object("document"))
        texts.append(_as_text(_document(inner)))
    elif kind == _IMAGE_URL:
        inner = required(part, _IMAGE_URL, part.object(_IMAGE_URL))
        inner.ignore("detail")
        texts.append(read_image(required(inner, "url", inner.text("url")), inner.path("url")))
        inner.close()
    elif kind == "thinking":
        thought = part.text("thinking")
        thoughts += [thought] if thought else []
    else:
        key = text_key(kind, part.path("type"))
        texts.append(required(part, key, part.text(key)))
    part.close()


def _as_text(document: Mapping[str, Any]) -> str:
    """A tool's result that is a document: its text where that is all, else the object as JSON."""
    only = document.get("text") if len(document) == 1 else None
    return only if isinstance(only, str) else msgspec.json.encode(document).decode()


def _calls(fields: Fields) -> list[Mapping[str, Any]] | None:
    return [_call(entry) for entry in fields.objects("tool_calls", most=MAX_TOOLS) or ()] or None


def _call(fields: Fields) -> Mapping[str, Any]:
    fields.choice("type", "function")
    call_id = fields.text("id", longest=256)
    function = required(fields, "function", fields.object("function"))
    call = {"type": "function", "function": read_called(function)}
    function.close()
    fields.close()
    return call if call_id is None else {"id": call_id, **call}
