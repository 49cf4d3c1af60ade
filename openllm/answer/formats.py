"""What is known of the formats that models think and call tools in: how one is recognised, read,
written and forced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

import attrs

from openllm.answer.calls import Tools
from openllm.answer.grammar import Rules, literal, optional, sequence
from openllm.answer.parts import Parser
from openllm.discovery import Variant, load, load_each, variants
from openllm.errors import ConfigurationError
from openllm.types import Reading

# Alternatives, each a few texts that all stand in a chat template or among the special tokens.
Signs = tuple[tuple[str, ...], ...]
Format = TypeVar("Format", bound="AnyFormat")


@attrs.frozen
class Tool:
    """A tool that a model may call. `parameters` is the JSON schema of its arguments, an object's;
    empty: it has none.
    """

    name: str
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    description: str = ""

    @property
    def schema(self) -> Mapping[str, Any]:
        """What its arguments must look like, in full."""
        if not self.parameters:
            return {"type": "object", "properties": {}, "additionalProperties": False}
        return {"type": "object", **self.parameters}


def tool(declared: Mapping[str, Any]) -> Tool:
    """A tool as OpenAI's API and chat templates write it, `{"type": "function", "function":
    {...}}`, or the inner object alone.
    """
    inner = declared.get("function")
    fields = inner if isinstance(inner, Mapping) else declared
    parameters = fields.get("parameters")
    return Tool(
        str(fields.get("name") or ""),
        parameters if isinstance(parameters, Mapping) else {},
        str(fields.get("description") or ""),
    )


@attrs.frozen
class Call:
    """A call of a tool as a whole. `arguments` is JSON text."""

    name: str
    arguments: str = "{}"
    id: str = ""

    @property
    def values(self) -> Mapping[str, Any]:
        """The arguments by their names. Errors: ValueError where they are no object."""
        found = json.loads(self.arguments)
        if not isinstance(found, dict):
            raise ValueError(f"the arguments of {self.name} are no object")
        return found


def same_id(call: Call, index: int) -> str:
    """The id of a call is a name that the format does not care about."""
    return call.id


def keeps_all(schema: Mapping[str, Any]) -> str | None:
    """Arguments are written as JSON, and kept as such."""
    return None


@attrs.frozen(kw_only=True)
class AnyFormat:
    """What a module of `openllm.answer.tools` or `reasoning` exports as FORMAT."""

    signs: Signs = ()


@attrs.frozen(kw_only=True)
class ToolFormat(AnyFormat):
    """One way to write calls of tools.

    `write(calls)` is what the model would write; it may raise ValueError where arguments are no
    object. `grammar(rules, tools, several)` is an expression
    (see `openllm.answer.grammar`) of a call of one of the `tools`, or of several calls; what it
    allows, the parser reads as calls. `history_id(call, index)` is the id under which a call of an
    earlier turn, the conversation's `index`th from 0, is shown to the chat template: some
    templates accept ids of their model's own making only. `finds_thoughts`: its parser finds the
    thoughts too, so that it needs no other beside it. `unkept(schema)` names what the grammar does
    not keep of a tool's arguments, beside what no grammar of JSON keeps; None: nothing.
    """

    parser: Callable[[str, Tools], Parser]
    write: Callable[[Sequence[Call]], str]
    grammar: Callable[[Rules, Sequence[Tool], bool], str]
    history_id: Callable[[Call, int], str] = same_id
    finds_thoughts: bool = False
    unkept: Callable[[Mapping[str, Any]], str | None] = keeps_all


@attrs.frozen(kw_only=True)
class ReasoningFormat(AnyFormat):
    """One way to mark a thought.

    `opening` and `closing` are what the model writes before and after it, `closing` also what ends
    a thought that has become too long. `mark` is the part of `closing` that no thought has in it.
    `begun(prompt_end)` says whether the prompt has opened the thought. `introduction` is what must
    stand before the answer's text, and does not before a call.
    """

    parser: Callable[[str], Parser]
    opening: str
    closing: str
    mark: str
    begun: Callable[[str], bool]
    introduction: str = ""

    def grammar(self, rules: Rules, prompt_end: str) -> str:
        """The expression of a thought, which may be left out where the prompt has not begun it."""
        after = self.closing.partition(self.mark)[2]
        rest = optional(literal(after)) if after.isspace() else literal(after)
        thought = sequence(rules.text_before(self.mark), literal(self.mark), rest)
        if self.begun(prompt_end):
            return thought
        return optional(sequence(literal(self.opening), thought))


def make_parser(
    kind: str, name: str | None, prompt_end: str, declared: Sequence[Mapping[str, Any]] = ()
) -> Parser | None:
    """The parser of the format `name` among the "tools" or "reasoning" formats; None for None.

    `prompt_end` is the end of the prompt as text: some templates begin the thought there.
    `declared` are the tools of the request, by whose schemas some formats tell 5 from "5".
    Errors: ConfigurationError when there is no such format, BrokenExtension.
    """
    if name is None:
        return None
    if kind == "reasoning":
        return reasoning_format(name).parser(prompt_end)
    schemas = {item.name: item.schema for item in map(tool, declared)}
    return tool_format(name).parser(prompt_end, schemas)


def parsers_of(reading: Reading, prompt_end: str) -> tuple[Parser | None, Parser | None]:
    """The parsers of one choice: that of thoughts, or of thoughts and calls, and that of calls.

    Errors: those of `make_parser`.
    """
    tools = make_parser("tools", reading.tools, prompt_end, reading.declared)
    if reading.tools is not None and tool_format(reading.tools).finds_thoughts:
        return tools, None
    return make_parser("reasoning", reading.reasoning, prompt_end), tools


def tool_format(name: str) -> ToolFormat:
    """Errors: ConfigurationError for one that there is not, BrokenExtension."""
    return _format("tools", name, ToolFormat)


def reasoning_format(name: str) -> ReasoningFormat:
    """Errors: ConfigurationError for one that there is not, BrokenExtension."""
    return _format("reasoning", name, ReasoningFormat)


def _format(kind: str, name: str, wanted: type[Format]) -> Format:
    formats = variants(f"openllm.{kind}")
    if name not in formats:
        known = ", ".join(formats)
        raise ConfigurationError(f"There is no {kind} format {name!r}.", hint=f"There are {known}.")
    found = load(formats[name], _read)
    if not isinstance(found, wanted):
        raise ConfigurationError(f"{formats[name].module}.FORMAT is no {wanted.__name__}.")
    return found


def _read(variant: Variant, module: ModuleType) -> AnyFormat:
    found: AnyFormat = module.FORMAT
    return found


def shown_by(kind: str, template: str, tokens: Iterable[str] = ()) -> str | None:
    """The "tools" or "reasoning" format that a chat template shows; where it shows none, the one
    that the special tokens show with it; else None.

    A tokenizer may have the tokens of the model that it was taken from, so that they say less.
    Where several formats may be meant, it is the one whose signs are longest together: the more of
    a template a format accounts for, the surer it is.
    """
    marks = template.replace('\\"', '"')  # templates write quotes in texts with a backslash
    return _surest(kind, marks) or _surest(kind, "\n".join((marks, *tokens)))


def _surest(kind: str, marks: str) -> str | None:
    found = [
        (sum(map(len, sign)), variant.name)
        for variant in variants(f"openllm.{kind}").values()
        for each in load_each([variant], _read)
        for sign in each.signs
        if all(mark in marks for mark in sign)
    ]
    return max(found)[1] if found else None
