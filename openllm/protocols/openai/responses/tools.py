"""The tools of a response: functions, whose fields stand beside their type; what is no function is
left out where there is one.
"""

from __future__ import annotations

from typing import Any

import attrs

from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields, required
from openllm.http.body.tools import Tool, Tools, function_tool, read_tools
from openllm.types import ToolUse


@attrs.frozen
class Declared:
    """The tools of a request."""

    tools: Tools  # those that the model is told of
    use: ToolUse
    shown: list[dict[str, Any]]  # all functions, as the response shows them
    choice: Any  # as the response shows it


def read_declared(fields: Fields) -> Declared:
    """`tools`, `tool_choice` and `parallel_tool_calls`. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    shown: list[dict[str, Any]] = []
    others: list[Fields] = []

    def read_tool(entry: Fields, strict: set[str]) -> Tool | None:
        kind = required(entry, "type", entry.text("type", longest=64))
        if kind != "function":
            entry.note(kind)
            others.append(entry)
            return None
        return _function(entry, strict, shown)

    tools, use = read_tools(fields, read_tool)
    if others and (fields.strict or not shown):
        path = others[0].path("type")
        raise UnsupportedFeature(
            f"{path}: only function tools are supported.",
            hint="Declare it as a function.",
            param=path,
        )
    return Declared(tools, use, shown, _choice(use, none=bool(shown) and not tools))


def _function(entry: Fields, strict: set[str], shown: list[dict[str, Any]]) -> Tool:
    """One function, declared beside its type or, as in chat, in a field of its own."""
    function = entry.object("function") or entry
    tool = function_tool(function, strict)
    declared = tool["function"]
    shown.append(
        {
            "type": "function",
            "name": declared["name"],
            "description": declared.get("description"),
            "parameters": declared.get("parameters"),
            "strict": declared["name"] in strict,
        }
    )
    function.close()
    if function is not entry:
        entry.close()
    return tool


def _choice(use: ToolUse, *, none: bool) -> Any:
    """What is asked of the tools as `tool_choice` says it."""
    if none:
        return "none"
    mode = "required" if use.required else "auto"
    if use.allowed is None:
        return mode
    names = [{"type": "function", "name": name} for name in sorted(use.allowed)]
    if use.required and len(names) == 1:
        return names[0]
    return {"type": "allowed_tools", "mode": mode, "tools": names}
