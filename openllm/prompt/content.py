"""What a chat template is given for one message: content as a text or as parts, told by the
template itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jinja2 import nodes

from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.types import Message

# What a template expects in `message.content`: a text, a list of parts, or (it looks) either.
ContentFormat = Literal["text", "parts", "either"]


def template_message(message: Message, wanted: ContentFormat) -> dict[str, Any]:
    """The message as templates know it: absent fields left out, content in the wanted form, tool
    arguments parsed.
    """
    fields: dict[str, Any] = {"role": message.role, "content": _content(message.content, wanted)}
    if message.tool_calls is not None:
        fields["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    optional = {"name": message.name, "tool_call_id": message.tool_call_id}
    return fields | {key: value for key, value in optional.items() if value is not None}


def _content(content: str | Sequence[Mapping[str, Any]] | None, wanted: ContentFormat) -> Any:
    if content is None:
        return None
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if wanted == "parts" else content
    parts = [_text_part(part) for part in content]
    return "\n".join(part["text"] for part in parts) if wanted == "text" else parts


def _text_part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type", "text")
    if kind not in ("text", "input_text", "output_text", "refusal"):
        raise UnsupportedFeature(
            f"This model takes text only, not {kind!r} content.", param="prompt"
        )
    text = part.get("refusal" if kind == "refusal" else "text")
    if not isinstance(text, str):
        raise InvalidRequest("A text part of a message has no text.", param="prompt")
    return {"type": "text", "text": text}


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI sends a call's arguments as JSON text; templates expect the object."""
    function = dict(call.get("function") or {})
    if isinstance(arguments := function.get("arguments"), str):
        try:
            parsed = json.loads(arguments or "{}")
        except ValueError:
            parsed = None
        function["arguments"] = parsed if isinstance(parsed, dict) else arguments
    return {**call, "function": function}


def content_format(template: nodes.Template) -> ContentFormat:
    """What the parsed template expects in `message.content`, judged by whether it loops over it or
    indexes it.
    """
    names = {"content"}
    before: set[str] = set()
    while names != before:
        before = set(names)
        names |= _assigned(template, before) | _passed(template, before)
    loops = any(_is_content(loop.iter, names) for loop in template.find_all(nodes.For))
    fields: list[nodes.Getitem | nodes.Getattr] = [
        *template.find_all(nodes.Getitem),
        *template.find_all(nodes.Getattr),
    ]
    if not loops and not any(_is_part(field.node, names) for field in fields):
        return "text"
    asks = any(
        test.name in ("string", "iterable", "sequence", "mapping") and _is_content(test.node, names)
        for test in template.find_all(nodes.Test)
    )
    return "either" if asks else "parts"


def _assigned(template: nodes.Template, names: set[str]) -> set[str]:
    return {
        assign.target.name
        for assign in template.find_all(nodes.Assign)
        if isinstance(assign.target, nodes.Name) and _is_content(assign.node, names)
    }


def _passed(template: nodes.Template, names: set[str]) -> set[str]:
    """Parameters of macros that are somewhere called with a message's content."""
    macros = {
        macro.name: [arg.name for arg in macro.args] for macro in template.find_all(nodes.Macro)
    }
    return {
        parameter
        for call in template.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name)
        for parameter, value in zip(macros.get(call.node.name, ()), call.args, strict=False)
        if _is_content(value, names)
    }


def _is_content(node: nodes.Node | None, names: set[str]) -> bool:
    """Whether the expression is a message's content, perhaps through filters."""
    if isinstance(node, nodes.Filter):
        return _is_content(node.node, names)
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return isinstance(node, nodes.Name) and node.name in names


def _is_part(node: nodes.Node | None, names: set[str]) -> bool:
    """Whether the expression is `content[0]`, of which something more is asked."""
    if not isinstance(node, nodes.Getitem) or not isinstance(node.arg, nodes.Const):
        return False
    return isinstance(node.arg.value, int) and _is_content(node.node, names)
