"""Items of a response's input: as the messages that chat templates know, and as they are kept and
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from openllm.errors import UnsupportedFeature
from openllm.http.body.conversation import MAX_MESSAGES, ROLES, read_called, read_content
from openllm.http.body.fields import Fields, required
from openllm.protocols.openai.responses.store import Item, new_id
from openllm.types import Message

MAX_ID = 256  # characters
_SPEAKERS = ("user", "assistant", "system", "developer")
_IMAGE_URL = "image_url"
_INPUT = "custom_tool_call"  # a call whose arguments are one text
# Items of tools that a vendor runs itself: a model that was not told of them makes nothing of them.
_OTHERS = frozenset(
    (
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)


@attrs.frozen
class Read:
    """An item that has been read."""

    message: Message  # a call and a thought are assistant messages without a content
    shown: dict[str, Any]  # as it is kept and shown, complete

    @property
    def item(self) -> Item:
        return Item.of(self.shown)


Find = Callable[[str, str], Item]  # an item that is kept: its id, and the field that names it


def read_items(fields: Fields, name: str, find: Find) -> list[Read]:
    """The items in field `name`, or one message of the user where it is a text. Errors:
    InvalidRequest, UnsupportedFeature, those of `find`.
    """
    value = fields.raw(name)
    if isinstance(value, str):
        fields.check_text(name, value)
        value = [{"role": "user", "content": value}]
    elif value is not None and not isinstance(value, list):
        fields.bad(name, "must be a string or an array of items")
    if value is not None and len(value) > MAX_MESSAGES:
        fields.bad(name, f"has {len(value)} entries; at most {MAX_MESSAGES} are allowed")
    path = fields.path(name)
    entries = enumerate(value or ())
    found = (_read(fields.entry(item, f"{path}[{at}]"), item, find) for at, item in entries)
    return [item for item in found if item is not None]


def reread(items: Iterable[Item]) -> list[Read]:
    """Items that were kept."""
    found = []
    for item in items:
        value = msgspec.json.decode(item.data)
        read = _read(Fields(value, "input", ignored=[]), value, _nowhere)
        if read is not None:
            found.append(read)
    return found


def _nowhere(name: str, path: str) -> Item:
    raise KeyError(name)  # what is kept refers to nothing


def _read(fields: Fields, value: Mapping[str, Any], find: Find) -> Read | None:
    """None: it is left out."""
    kind = fields.text("type", longest=64)
    if kind is None:
        kind = "message" if fields.said("role") else "item_reference"
    name = fields.text("id", longest=MAX_ID)
    if kind == "item_reference":
        item = find(required(fields, "id", name), fields.path("id"))
        return reread([item])[0]
    fields.ignore("status", "phase", "caller", "namespace")
    if kind == "message":
        return _message(fields, value, name)
    if kind == "reasoning":
        return _thought(fields, name)
    if kind in ("function_call", _INPUT):
        return _called(fields, name, kind)
    if kind in ("function_call_output", "custom_tool_call_output"):
        return _result(fields, name, value.get("output"))
    if kind not in _OTHERS or fields.strict:
        path = fields.path("type")
        raise UnsupportedFeature(
            f"{path}: {kind!r} is not supported.", hint="Leave it out.", param=path
        )
    fields.note(kind)
    return None


def _message(fields: Fields, value: Mapping[str, Any], name: str | None) -> Read:
    said = required(fields, "role", fields.choice("role", *_SPEAKERS))
    thought: list[str] = []
    content = read_content(fields, "content", thought)
    if content is None and fields.strict:
        fields.bad("content", "is required")
    fields.close()
    message = Message(ROLES[said], content or "", reasoning="\n".join(thought) or None)
    shown = {
        "id": name or new_id("msg"),
        "type": "message",
        "role": said,
        "status": "completed",
        "content": _parts(value.get("content"), assistant=said == "assistant"),
    }
    return Read(message, shown)


def _parts(content: Any, *, assistant: bool) -> list[dict[str, Any]]:
    """The parts of a content that has been read."""
    parts: list[dict[str, Any]] = []
    for part in content if isinstance(content, list) else [content or ""]:
        said = {"text": part} if isinstance(part, str) else part
        if assistant and said.get("refusal") is not None:
            parts.append({"type": "refusal", "refusal": said["refusal"]})
        elif said.get(_IMAGE_URL) is not None:
            parts.append(_shown_image(said))
        elif said.get("text") is not None:
            parts.append(_text(said["text"], assistant=assistant))
    return parts


def _shown_image(part: Mapping[str, Any]) -> dict[str, Any]:
    url = part[_IMAGE_URL]
    inner = url if isinstance(url, dict) else {"url": url}
    detail = part.get("detail") or inner.get("detail") or "auto"
    return {"type": "input_image", _IMAGE_URL: inner.get("url"), "detail": detail, "file_id": None}


def _text(text: str, *, assistant: bool) -> dict[str, Any]:
    if assistant:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def _thought(fields: Fields, name: str | None) -> Read:
    """A summary is none of what the model wrote, and what is encrypted is for its vendor alone."""
    fields.ignore("summary", "encrypted_content")
    texts: list[str] = []
    for part in fields.objects("content", most=MAX_MESSAGES) or ():
        part.choice("type", "reasoning_text", "text")
        texts.append(required(part, "text", part.text("text")))
        part.close()
    fields.close()
    shown = {
        "id": name or new_id("rs"),
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text} for text in texts],
        "status": "completed",
    }
    return Read(Message("assistant", None, reasoning="\n".join(texts) or None), shown)


def _called(fields: Fields, name: str | None, kind: str) -> Read:
    call_id = fields.text("call_id", longest=MAX_ID) or name or new_id("call")
    if kind == _INPUT:
        text = fields.raw("input")
        called: Mapping[str, Any] = {
            "name": fields.text("name") or "",
            "arguments": {"input": text},
        }
    else:
        called = read_called(fields)
    fields.close()
    arguments = called["arguments"]
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    shown = {
        "id": name or new_id("fc"),
        "type": "function_call",
        "call_id": call_id,
        "name": called["name"],
        "arguments": arguments,
        "status": "completed",
    }
    call = {"id": call_id, "type": "function", "function": called}
    return Read(Message("assistant", None, tool_calls=[call]), shown)


def _result(fields: Fields, name: str | None, raw: Any) -> Read:
    call_id = fields.text("call_id", longest=MAX_ID)
    if fields.strict:
        required(fields, "call_id", call_id)
    fields.ignore("name")
    output = read_content(fields, "output", [], anything=not fields.strict) or ""
    fields.close()
    shown = {
        "id": name or new_id("fco"),
        "type": "function_call_output",
        "call_id": call_id or "",
        "output": output if isinstance(output, str) else _parts(raw, assistant=False),
        "status": "completed",
    }
    return Read(Message("tool", output, tool_call_id=call_id), shown)


def messages_of(items: Sequence[Read], instructions: str | None) -> tuple[Message, ...]:
    """The turns of a conversation: a thought, a text and calls that follow each other are one turn
    of the assistant's, and instructions are one message with the system messages that come first,
    for many templates take no second.
    """
    turns: list[Message] = []
    if instructions:
        turns.append(Message("system", instructions))
    for read in items:
        joined = _joined(turns, read.message)
        if joined is None:
            turns.append(read.message)
        else:
            turns[-1] = joined
    return tuple(map(_whole, turns))


def _joined(turns: Sequence[Message], message: Message) -> Message | None:
    """The last turn with `message` in it; None where that is a turn of its own."""
    last = turns[-1] if turns else None
    if last is None or last.role != message.role:
        return None
    texts = isinstance(last.content, str) and isinstance(message.content, str)
    if last.role == "system" and len(turns) == 1 and texts:
        return attrs.evolve(last, content=f"{last.content}\n\n{message.content}")
    if last.role != "assistant":
        return None
    if message.tool_calls:
        return attrs.evolve(last, tool_calls=[*(last.tool_calls or ()), *message.tool_calls])
    if last.content is not None or (message.reasoning and last.tool_calls):
        return None
    thoughts = [thought for thought in (last.reasoning, message.reasoning) if thought]
    return attrs.evolve(last, content=message.content, reasoning="\n".join(thoughts) or None)


def _whole(turn: Message) -> Message:
    """An assistant's turn without a text and without calls says nothing."""
    empty = turn.content is None and not turn.tool_calls
    return attrs.evolve(turn, content="") if empty else turn
