"""Anthropic's system and messages to a `Conversation`: a turn's blocks become a message, and the
tool results among them messages of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from openllm.errors import UnsupportedFeature
from openllm.http.body.conversation import MAX_MESSAGES, joined, read_called, read_image
from openllm.http.body.fields import Fields, kind_of, required
from openllm.prompt.messages import IMAGE
from openllm.protocols.anthropic.tools import read_tools
from openllm.types import Conversation, Image, Message

ERROR = "Error: "  # before the result of a call that failed, for templates have no other place
# What Claude Code puts first into `system`, with another value in every request: nothing is said to
# the model by it, and no two prompts would begin alike.
_BILLING = "x-anthropic-billing-header:"
_MEDIA = ("audio", "video", "file", "container_upload")


def read_conversation(fields: Fields, template_kwargs: Mapping[str, Any]) -> Conversation:
    """system, messages, tools and tool_choice. An assistant's turn at the end is continued. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    messages = _system(fields)
    entries = required(fields, "messages", fields.objects("messages", most=MAX_MESSAGES))
    if not entries:
        fields.bad("messages", "must not be empty")
    for entry in entries:
        messages += _turn(entry)
    tools, tool_use = read_tools(fields)
    last = messages[-1]
    begun = last.role == "assistant" and not last.tool_calls and bool(last.content)
    return Conversation(tuple(messages), tools, not begun, begun, template_kwargs, tool_use)


def _system(fields: Fields) -> list[Message]:
    texts = [text for text in _texts(fields, "system") if not text.startswith(_BILLING)]
    return [Message("system", "\n".join(texts))] if texts else []


@attrs.define
class _Said:
    """What the blocks of one turn say, so far."""

    texts: list[str | Image] = attrs.field(factory=list)
    thoughts: list[str] = attrs.field(factory=list)
    calls: list[Mapping[str, Any]] = attrs.field(factory=list)

    def message(self, role: str) -> Message:
        content = None if self.calls and not self.texts else joined(self.texts)
        reasoning = "\n".join(self.thoughts) or None
        return Message(role, content, None, self.calls or None, None, reasoning)


def _turn(fields: Fields) -> list[Message]:
    """The messages that one turn stands for: a tool's result is one, in the place where it is."""
    role = required(fields, "role", fields.choice("role", "user", "assistant", "system"))
    found: list[Message] = []
    said = _Said()
    for block in _blocks(fields, "content"):
        if isinstance(block, str):
            said.texts.append(block)
            continue
        kind = _kind(block)
        if kind == "tool_result":
            if said.texts:
                found.append(said.message(role))
                said = _Said()
            found.append(_result(block))
        else:
            _read_block(block, kind, said)
    fields.close()
    if said != _Said() or not found:
        found.append(said.message(role))
    return found


def _read_block(block: Fields, kind: str, said: _Said) -> None:
    if kind == "tool_use":
        said.calls.append(_call(block))
    elif kind == "thinking":
        said.thoughts.append(block.text("thinking") or "")
        block.ignore("signature")
        block.close()
    elif kind == "redacted_thinking":
        block.ignore("data")  # nobody but its vendor can read it
        block.close()
    else:
        said.texts += _shown(block, kind)


def _shown(block: Fields, kind: str) -> list[str | Image]:
    """What a block lets the model read or see. Errors: as of `_block_texts`, `_image`."""
    return [_image(block)] if kind == IMAGE else [*_block_texts(block, kind)]


def _blocks(fields: Fields, name: str, *, anything: bool = False) -> list[Fields | str]:
    """The entries of a text or an array of blocks. `anything`: other JSON is taken too, as its
    text. Errors: InvalidRequest.
    """
    value = fields.raw(name)
    if value is None:
        return []
    if isinstance(value, str) or (anything and not isinstance(value, list)):
        value = [value]
    if not isinstance(value, list):
        fields.bad(name, f"must be a string or an array of blocks, not {kind_of(value)}")
    path = fields.path(name)
    found: list[Fields | str] = []
    for at, item in enumerate(value):
        if isinstance(item, str):
            fields.check_text(name, item)
            found.append(item)
        elif anything and not _is_block(item):
            found.append(msgspec.json.encode(item).decode())
        else:
            found.append(fields.entry(item, f"{path}[{at}]"))
    return found


def _is_block(item: Any) -> bool:
    return isinstance(item, dict) and ("type" in item or "text" in item)


def _kind(block: Fields) -> str:
    """The block's type. Errors: InvalidRequest."""
    kind = block.text("type", longest=64)
    if kind is None and block.said("text") and not block.strict:
        kind = "text"
    found: str = required(block, "type", kind)
    return found


def _texts(fields: Fields, name: str) -> list[str]:
    """The texts of a field that holds a text, or blocks that are texts."""
    found: list[str] = []
    for block in _blocks(fields, name):
        found += [block] if isinstance(block, str) else _block_texts(block, _kind(block))
    return found


def _block_texts(block: Fields, kind: str) -> list[str]:
    """The texts of a block. One that only the vendor's servers make has none, and is noted.
    Errors: UnsupportedFeature for media.
    """
    block.ignore("cache_control", "citations")
    if kind == "text":
        texts = [required(block, "text", block.text("text"))]
    elif kind == "document":
        texts = [block.text("title"), block.text("context"), *_source(block)]
    elif kind == "search_result":
        texts = [block.text("title"), block.text("source"), *_texts(block, "content")]
    elif kind == "tool_reference":
        texts = [block.text("tool_name")]
    elif kind in (IMAGE, *_MEDIA) or block.strict:
        raise _only_text(block.path("type"), kind)
    else:
        block.note("type")
        return []
    block.close()
    return [text for text in texts if text is not None]


def _source(document: Fields) -> list[str]:
    """The texts of a document that is one. Errors: UnsupportedFeature for others."""
    source = required(document, "source", document.object("source"))
    kind = required(source, "type", source.text("type", longest=64))
    if kind == "text":
        source.ignore("media_type")
        found = [required(source, "data", source.text("data"))]
    elif kind == "content":
        found = _texts(source, "content")
    else:
        raise _only_text(source.path("type"), kind)
    source.close()
    return found


def _image(block: Fields) -> Image:
    """An image: its bytes in base64, or the URL of one. Errors: InvalidRequest,
    UnsupportedFeature for one that is named by a file's id.
    """
    source = required(block, "source", block.object("source"))
    kind = required(source, "type", source.text("type", longest=64))
    if kind == "base64":
        media = required(source, "media_type", source.text("media_type", longest=64))
        data = required(source, "data", source.text("data"))
        found = read_image(f"data:{media};base64,{data}", source.path("data"))
    elif kind == "url":
        found = read_image(required(source, "url", source.text("url")), source.path("url"))
    else:
        path = source.path("type")
        raise UnsupportedFeature(
            f"{path}: an image is taken as base64 or url, not {kind!r}.", param=path
        )
    source.close()
    block.ignore("cache_control", "citations")
    block.close()
    return found


def _only_text(path: str, kind: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"{path}: only text is taken, not {kind!r}.", hint="Send what it says as text.", param=path
    )


def _call(block: Fields) -> Mapping[str, Any]:
    call_id = block.text("id", longest=256)
    called = read_called(block, "input")
    block.ignore("cache_control", "caller", "toolset_name")
    block.close()
    call = {"type": "function", "function": called}
    return call if call_id is None else {"id": call_id, **call}


def _result(block: Fields) -> Message:
    """A tool's result, in whatever form: a text, blocks, another value as JSON."""
    call_id = block.text("tool_use_id", longest=256)
    failed = block.flag("is_error")
    said: list[str | Image] = []
    for item in _blocks(block, "content", anything=not block.strict):
        said += [item] if isinstance(item, str) else _shown(item, _kind(item))
    if failed:
        first = said[0] if said and isinstance(said[0], str) else None
        said[: first is not None] = [ERROR + (first or "")]
    block.ignore("cache_control", "toolset_name")
    block.close()
    return Message("tool", joined(said), tool_call_id=call_id)
