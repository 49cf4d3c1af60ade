"""Tools as chat templates know them, and what a caller wants of them, to `Conversation.tools` and a
`ToolUse`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields, required
from openllm.types import ToolUse

MAX_TOOLS = 512
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_MODES = ("none", "auto", "required")

Tool = Mapping[str, Any]
Tools = tuple[Tool, ...]
# Reads one entry of `tools`, adds its name to a set where it is strict; None: it is left out.
ReadTool = Callable[[Fields, set[str]], Tool | None]


def nested_tool(fields: Fields, strict: set[str]) -> Tool:
    """A tool whose function stands in a field of its own. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    kind = required(fields, "type", fields.text("type", longest=64, known=("function",)))
    if kind != "function":
        path = fields.path("type")
        raise UnsupportedFeature(f"{path}: only function tools are supported.", param=path)
    function = required(fields, "function", fields.object("function"))
    tool = function_tool(function, strict)
    function.close()
    fields.close()
    return tool


def read_tools(fields: Fields, read_tool: ReadTool = nested_tool) -> tuple[Tools, ToolUse]:
    """`tools`, `tool_choice` and `parallel_tool_calls`. No tools where none may be called. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    entries = fields.objects("tools", most=MAX_TOOLS) or []
    strict: set[str] = set()
    found = (read_tool(entry, strict) for entry in entries)
    tools = tuple(tool for tool in found if tool is not None)
    said = fields.said("parallel_tool_calls")
    flag = fields.flag("parallel_tool_calls")
    parallel = flag if said else None
    if not tools:
        _choose_nothing(fields)
        return (), ToolUse()
    mode, allowed = _choice(fields)
    use = ToolUse(mode == "required", allowed, parallel, frozenset(strict))
    return chosen(fields, tools, None if mode == "none" else use)


def chosen(fields: Fields, tools: Tools, use: ToolUse | None) -> tuple[Tools, ToolUse]:
    """`tools` and what is wanted of them; None: that none is called, and then there are none.
    Errors: InvalidRequest where one that is allowed is not among them.
    """
    if use is None:
        return (), ToolUse()
    names = {tool["function"]["name"] for tool in tools}
    if use.allowed is not None and (unknown := sorted(use.allowed - names)):
        fields.bad("tool_choice", f"there is no tool {unknown[0]!r}")
    return tools, use


def _choose_nothing(fields: Fields) -> None:
    """Without tools there is nothing to choose; some clients say "auto" all the same."""
    idle = (None, "none") if fields.strict else (None, "none", "auto")
    if fields.raw("tool_choice") not in idle:
        fields.bad("tool_choice", "needs tools")


def tool_name(function: Fields) -> str:
    """The `name` of a tool. Errors: InvalidRequest."""
    name: str = required(function, "name", function.text("name"))
    if not _TOOL_NAME.fullmatch(name):
        function.bad("name", "must be 1 to 128 letters, digits, or one of _ . : -")
    return name


def function_tool(function: Fields, strict: set[str], schema: str = "parameters") -> Tool:
    """The tool that `function` declares, with the schema of its arguments in the field `schema`;
    its name is added to `strict` where it says so. Errors: InvalidRequest.
    """
    tool: dict[str, Any] = {"name": tool_name(function)}
    tool["description"] = function.text("description")
    tool["parameters"] = function.mapping(schema)
    if function.flag("strict"):
        strict.add(tool["name"])
    return {
        "type": "function",
        "function": {key: value for key, value in tool.items() if value is not None},
    }


def _choice(fields: Fields) -> tuple[str | None, frozenset[str] | None]:
    """The mode that `tool_choice` says, and the names of the only tools that it allows."""
    value = fields.raw("tool_choice")
    if value is None:
        return None, None
    if isinstance(value, str):
        mode = "required" if value == "any" else value
        if mode not in _MODES:
            fields.bad("tool_choice", f"must be one of {', '.join(_MODES)}, or an object")
        return mode, None
    choice = fields.entry(value, fields.path("tool_choice"))
    kind = required(choice, "type", choice.choice("type", "function", "allowed_tools"))
    if kind == "function":
        name = _named(choice)
        choice.close()
        return "required", frozenset((name,))
    inner = choice.object("allowed_tools") or choice
    mode = inner.choice("mode", "auto", "required") or "auto"
    names = [_reference(entry) for entry in inner.objects("tools", most=MAX_TOOLS) or ()]
    if not names:
        inner.bad("tools", "must name at least one tool")
    inner.close()
    if inner is not choice:
        choice.close()
    return mode, frozenset(names)


def _reference(entry: Fields) -> str:
    entry.choice("type", "function")
    name = _named(entry)
    entry.close()
    return name


def _named(fields: Fields) -> str:
    """The name in `function`, or beside it."""
    function = fields.object("function")
    if function is None:
        return tool_name(fields)
    name = tool_name(function)
    function.close()
    return name
