"""What a chat template expects of a conversation, told from its syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs
from jinja2 import nodes

# What a template expects in `message.content`: a text, a list of parts, or (it looks) either.
ContentFormat = Literal["text", "parts", "either"]


@attrs.frozen
class Expectations:
    """How messages must be written for one template."""

    content: ContentFormat = "text"
    asks_for_none: bool = False  # it looks whether a content is none; to others that is ""
    splices_arguments: bool = False  # it takes a call's arguments as JSON text, not as an object
    tools: bool = False  # it shows tools
    system: bool = True  # it takes a system message
    documents: bool = False  # it shows documents


def expectations(template: nodes.Template) -> Expectations:
    """What the parsed template expects."""
    return Expectations(
        content_format(template),
        any(
            test.name == "none" and _is_key(test.node, "content")
            for test in template.find_all(nodes.Test)
        ),
        splices_arguments(template),
        _names(template, "tools"),
        not _refuses_system(template),
        _names(template, "documents"),
    )


def _names(template: nodes.Template, variable: str) -> bool:
    return any(name.name == variable for name in template.find_all(nodes.Name))


def splices_arguments(template: nodes.Template) -> bool:
    """Whether a call's arguments are printed or joined as they are, without a look at what they
    are.
    """
    names = {"arguments"} | {
        assign.target.name
        for assign in template.find_all(nodes.Assign)
        if isinstance(assign.target, nodes.Name) and _is_key(assign.node, "arguments")
    }

    def are_arguments(node: nodes.Node | None) -> bool:
        return _is_key(node, "arguments") or (isinstance(node, nodes.Name) and node.name in names)

    looks = any(
        test.name in ("string", "mapping", "iterable") and are_arguments(test.node)
        for test in template.find_all(nodes.Test)
    )
    return not looks and any(map(are_arguments, _texts(template)))


def _texts(template: nodes.Template) -> Iterator[nodes.Node]:
    """The expressions that a template takes as texts: printed, added or joined."""
    for output in template.find_all(nodes.Output):
        yield from output.nodes
    for concat in template.find_all(nodes.Concat):
        yield from concat.nodes
    for add in template.find_all(nodes.Add):
        yield add.left
        yield add.right


def _is_key(node: nodes.Node | None, key: str) -> bool:
    """Whether the expression is `x.key` or `x["key"]`."""
    if isinstance(node, nodes.Getattr):
        return node.attr == key
    return (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and node.arg.value == key
    )


def _refuses_system(template: nodes.Template) -> bool:
    """Whether what is done where a role is system is to raise."""
    return any(
        _says_system(branch.test) and any(map(_raises, branch.body))
        for branch in template.find_all(nodes.If)
    )


def _says_system(test: nodes.Node) -> bool:
    """Whether the test is `... == "system"`, perhaps among others."""
    compares = [test] if isinstance(test, nodes.Compare) else test.find_all(nodes.Compare)
    return any(
        operand.op == "eq"
        and isinstance(operand.expr, nodes.Const)
        and operand.expr.value == "system"
        for compare in compares
        for operand in compare.ops
    )


def _raises(node: nodes.Node) -> bool:
    """Whether the node prints `raise_exception(...)`."""
    return isinstance(node, nodes.Output) and any(
        isinstance(item, nodes.Call)
        and isinstance(item.node, nodes.Name)
        and item.node.name == "raise_exception"
        for item in node.nodes
    )


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
    return _is_key(node, "content") or (isinstance(node, nodes.Name) and node.name in names)


def _is_part(node: nodes.Node | None, names: set[str]) -> bool:
    """Whether the expression is `content[0]`, of which something more is asked."""
    if not isinstance(node, nodes.Getitem) or not isinstance(node.arg, nodes.Const):
        return False
    return isinstance(node.arg.value, int) and _is_content(node.node, names)
