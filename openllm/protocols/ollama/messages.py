"""Ollama's chat messages to a `Conversation`: calls without ids, results by a tool's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from openllm.errors import InvalidRequest
from openllm.http.body.conversation import MAX_MESSAGES, ROLES, joined, read_called, read_image
from openllm.http.body.fields import Fields, Written, required
from openllm.http.body.tools import MAX_TOOLS, read_tools
from openllm.types import Conversation, Image, Message

MAX_IMAGES = 1024  # of a message; the operator's own limit is for the request
_DATA = "data:"


def read_images(fields: Fields) -> list[str | Image]:
    """The field `images`: files in base64, or their `data:` URIs. Errors: InvalidRequest."""
    found: list[str | Image] = []
    for at, item in enumerate(fields.items("images", most=MAX_IMAGES) or ()):
        path = f"{fields.path('images')}[{at}]"
        if not isinstance(item, str) or not item:
            raise InvalidRequest(f"{path} must be base64.", param=Written(path))
        url = item if item[: len(_DATA)].lower() == _DATA else f"{_DATA};base64,{item}"
        found.append(read_image(url, path))
    return found


def read_conversation(fields: Fields, template_kwargs: Mapping[str, Any]) -> Conversation | None:
    """messages and tools; None where there is no message, which asks for the model to be loaded.
    Errors: InvalidRequest, UnsupportedFeature.
    """
    entries = fields.objects("messages", most=MAX_MESSAGES) or []
    messages = [_message(entry) for entry in entries]
    tools, tool_use = read_tools(fields)
    if not messages:
        return None
    return Conversation(
        with_ids(messages), tools, template_kwargs=template_kwargs, tool_use=tool_use
    )


def _message(fields: Fields) -> Message:
    role = ROLES[required(fields, "role", fields.choice("role", *ROLES))]
    content = fields.text("content")
    images = read_images(fields)
    thought = fields.text("thinking")
    calls = [_call(entry) for entry in fields.objects("tool_calls", most=MAX_TOOLS) or ()]
    name, call_id = fields.text("tool_name", longest=256), fields.text("tool_call_id", longest=256)
    name = name or fields.text("name", longest=256)
    fields.close()
    said = joined([*images, content or ""])
    return Message(role, said, name, calls or None, call_id, thought or None)


def _call(fields: Fields) -> Mapping[str, Any]:
    fields.choice("type", "function")
    call_id = fields.text("id", longest=256)
    function = required(fields, "function", fields.object("function"))
    function.ignore("index", "description")
    call = {"type": "function", "function": read_called(function)}
    function.close()
    fields.close()
    return call if not call_id else {"id": call_id, **call}


def with_ids(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with an id for every call and result that has none, since many templates match
    them by it: a result is that of the first call of its name that has none yet, or of the first
    one at all where it has no name.
    """
    found: list[Message] = []
    waiting: list[tuple[str, str]] = []  # calls without a result: id, name
    count = 0
    for message in messages:
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                # nine letters and digits: Mistral's templates insist on that
                numbered = {"id": f"call{count:05d}", **call}
                count += 1
                calls.append(numbered)
                waiting.append((numbered["id"], numbered["function"]["name"]))
            message = attrs.evolve(message, tool_calls=calls)
        elif message.role == "tool":
            message = _result(message, waiting)
        found.append(message)
    return tuple(found)


def _result(message: Message, waiting: list[tuple[str, str]]) -> Message:
    """A tool's result with the id and name of its call, which no longer waits."""
    for at, (call_id, name) in enumerate(waiting):
        if message.tool_call_id not in (None, call_id):
            continue
        if message.tool_call_id is None and message.name not in (None, name):
            continue
        del waiting[at]
        return attrs.evolve(message, tool_call_id=call_id, name=message.name or name)
    return message
