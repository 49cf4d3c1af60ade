"""Anthropic's `tools` and `tool_choice`, to `Conversation.tools` and a `ToolUse`."""

from __future__ import annotations

from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields, required
from openllm.http.body.tools import MAX_TOOLS, Tool, Tools, chosen, function_tool, tool_name
from openllm.types import ToolUse


def read_tools(fields: Fields) -> tuple[Tools, ToolUse]:
    """`tools` and `tool_choice`. No tools where none may be called. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    strict: set[str] = set()
    found = [_tool(entry, strict) for entry in fields.objects("tools", most=MAX_TOOLS) or ()]
    tools = tuple(tool for tool in found if tool is not None)
    use = _choice(fields, strict)
    if not tools and use is not None and use.required:
        fields.bad("tool_choice", "needs tools")
    return chosen(fields, tools, use if tools else None)


def _choice(fields: Fields, strict: set[str]) -> ToolUse | None:
    """What `tool_choice` says; None: no tool is to be called."""
    choice = fields.object("tool_choice")
    if choice is None:
        return ToolUse(strict=frozenset(strict))
    kind = required(choice, "type", choice.choice("type", "auto", "any", "tool", "none"))
    allowed = frozenset((tool_name(choice),)) if kind == "tool" else None
    said = choice.said("disable_parallel_tool_use")
    single = choice.flag("disable_parallel_tool_use")
    choice.close()
    if kind == "none":
        return None
    parallel = not single if said else None
    return ToolUse(kind in ("any", "tool"), allowed, parallel, frozenset(strict))


def _tool(fields: Fields, strict: set[str]) -> Tool | None:
    """One tool; None for one that only the vendor's models or servers know, which is noted."""
    kind = fields.text("type", longest=64)
    if kind not in (None, "custom") and not fields.said("input_schema"):
        if fields.strict:
            path = fields.path("type")
            raise UnsupportedFeature(
                f"{path}: {kind!r} is not known here.",
                hint="Send a tool with an input_schema.",
                param=path,
            )
        fields.note("type")
        return None
    fields.ignore("cache_control", "eager_input_streaming")
    fields.pass_over("allowed_callers", "Tools are called by the model.", ["direct"])
    tool = function_tool(fields, strict, schema="input_schema")
    fields.close()
    return tool
