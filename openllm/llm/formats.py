"""In which formats a model thinks and calls tools, and what keeps an answer to them and to what the
caller asked of its tools.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import attrs

from openllm.answer.formats import (
    Call,
    Tool,
    ToolFormat,
    reasoning_format,
    same_id,
    shown_by,
    tool,
    tool_format,
)
from openllm.answer.grammar import Rules, either, literal, optional, sequence
from openllm.answer.schema.explored import Explored, known, remember
from openllm.answer.schema.writing import json_grammar
from openllm.answer.tokens import TokenTable
from openllm.backends.base import Backend
from openllm.config.spec import UNREAD, LLMSpec
from openllm.discovery import variants
from openllm.errors import InvalidRequest, UnsupportedFeature, field
from openllm.llm.model import Model
from openllm.prompt import documents as prompt_documents
from openllm.prompt import tools as prompt_tools
from openllm.prompt.renderer import ChatRenderer
from openllm.types import (
    Conversation,
    GenerationRequest,
    Message,
    Reading,
    Structure,
    StructureKind,
    ToolUse,
)

# Structures that can stand in a grammar beside calls and after a thought.
_JOINED = (StructureKind.JSON_SCHEMA, StructureKind.JSON_OBJECT, StructureKind.GRAMMAR)
_NAME = "example"  # of a tool, in none of the marks
_ANY_OBJECT = {"type": "object"}


class Templated(Protocol):
    """A model as far as its formats go: an `LLM` is one, and its `Model`."""

    @property
    def spec(self) -> LLMSpec: ...

    @property
    def renderer(self) -> ChatRenderer: ...

    @property
    def token_table(self) -> TokenTable: ...


def reasoning_of(model: Templated, *, tools: bool) -> str | None:
    """The reasoning format that the model's spec says, else the one that its chat template and
    special tokens show.
    """
    said = model.spec.reasoning_format or _shown_by(model, tools).reasoning
    return None if said == UNREAD else said


def formats_of(model: Model, *, tools: bool) -> Reading:
    """The formats that the model's spec says, else those that its chat template and special tokens
    show, else that of its family where the template shows tools and no format that is known, and
    the model is one of the family's own.
    """
    form = model.spec.tool_format or _shown_by(model, tools).tools
    family = model.own_family.tool_format if form is None else None
    if family in variants("openllm.tools"):
        form = family
    return Reading(reasoning_of(model, tools=tools), form)


def _shown_by(model: Templated, tools: bool) -> Reading:
    return _shown(model.renderer.source(tools=tools), tuple(model.token_table.special_tokens))


@lru_cache(maxsize=64)
def _shown(template: str, tokens: tuple[str, ...]) -> Reading:
    return Reading(shown_by("reasoning", template, tokens), shown_by("tools", template, tokens))


def in_own_formats(model: Model, backend: Backend, request: GenerationRequest) -> GenerationRequest:
    """The request with a `reading`: where it says none, that of the model.

    Its tools are told in a system message where the model's template shows none, or calls them in
    no format that is known. Errors: InvalidRequest where there is no chat template,
    UnsupportedFeature where the engine cannot keep calls to what is asked of them.
    """
    prompt = request.prompt
    if not isinstance(prompt, Conversation):
        return attrs.evolve(request, reading=request.reading or Reading())
    tools = prompt.tools
    if prompt.documents:
        prompt = prompt_documents.told(prompt, model.renderer.expects(tools=bool(tools)))
    if request.reading is not None:
        return attrs.evolve(request, prompt=prompt)
    if tools and prompt.tool_use.constrains:
        _require_structures(prompt.tool_use, backend)
    formats = formats_of(model, tools=bool(tools))
    expects = model.renderer.expects(tools=bool(tools))
    if not expects.tools or (tools and formats.tools is None):
        form = model.spec.tool_format or prompt_tools.FORMAT
        formats = attrs.evolve(formats, tools=form)
        prompt = prompt_tools.told(prompt, expects, tool_format(form))
    elif formats.tools is not None:
        prompt = _with_own_ids(prompt, tool_format(formats.tools))
    reading = Reading(formats.reasoning, formats.tools if tools else None, tools)
    return attrs.evolve(request, prompt=prompt, reading=reading)


def _with_own_ids(prompt: Conversation, form: ToolFormat) -> Conversation:
    """The calls of earlier turns, and their results, under ids that the template accepts."""
    if form.history_id is same_id or not any(message.tool_calls for message in prompt.messages):
        return prompt
    own: dict[str, str] = {}
    calls = 0
    messages: list[Message] = []
    for message in prompt.messages:
        renamed = []
        for call in message.tool_calls or ():
            said = str(call.get("id") or "")
            name = str((call.get("function") or {}).get("name") or "")
            own[said] = form.history_id(Call(name, id=said), calls)
            renamed.append({**call, "id": own[said]})
            calls += 1
        answered = message.tool_call_id
        known = own.get(answered, answered) if answered is not None else None
        messages.append(
            attrs.evolve(message, tool_calls=renamed or message.tool_calls, tool_call_id=known)
        )
    return attrs.evolve(prompt, messages=tuple(messages))


def _require_structures(use: ToolUse, backend: Backend) -> None:
    """Errors: UnsupportedFeature."""
    param = "tool_use" if use.required or use.allowed is not None else "strict"
    why = None
    if not backend.follows_structures:
        why = f"{backend.facts.title} follows no structure"
    elif importlib.util.find_spec("xgrammar") is None:
        why = "it needs xgrammar"
    if why is not None:
        raise UnsupportedFeature(
            f"{field(param)} cannot be kept to here: {why}.",
            hint="Let the model choose, without strict schemas, or take pytorch or vllm.",
            param=param,
        )


async def kept_to(
    request: GenerationRequest,
    reading: Reading,
    backend: Backend,
    prompt_end: str,
    *,
    thought_over: bool = False,
) -> Structure | None:
    """The structure of the whole answer: of calls as the conversation's `tool_use` wants them, of
    what the request's own structure says, both after the thought; of what is left of it where the
    `thought_over`. None: it is free.

    Errors: InvalidRequest for a schema that cannot be kept to, the request's or a strict tool's.
    """
    structure, prompt = request.params.structure, request.prompt
    tools: Sequence[Mapping[str, Any]] = ()
    use = ToolUse()
    if isinstance(prompt, Conversation) and reading.tools:
        tools, use = prompt.tools, prompt.tool_use
    is_schema = structure is not None and structure.kind is StructureKind.JSON_SCHEMA
    if structure is not None and is_schema and backend.follows_structures:
        await asyncio.to_thread(json_grammar, structure.value)  # it raises what cannot be kept
    free = structure is None and not (tools and use.constrains)
    if free or not (tools or reading.reasoning) or not backend.follows_structures:
        return structure
    if structure is not None and structure.kind not in _JOINED and not use.required:
        return structure
    wanted = _Wanted(
        tuple(json.dumps(entry) for entry in tools if _may_call(entry, use)),
        use,
        None if use.required else structure,
        reading.tools,
        reading.reasoning,
        prompt_end if reading.reasoning and not thought_over else "",
        thought_over,
    )
    grammar, schemas = await asyncio.to_thread(_grammar, wanted)
    remember(schemas)  # by which the calls are read
    return Structure(StructureKind.GRAMMAR, grammar)


def _may_call(entry: Mapping[str, Any], use: ToolUse) -> bool:
    return use.allowed is None or entry["function"]["name"] in use.allowed


@attrs.frozen
class _Wanted:
    """What an answer is kept to."""

    tools: tuple[str, ...]  # as JSON
    use: ToolUse
    structure: Structure | None  # of an answer that is no call
    tool_format: str | None
    reasoning: str | None
    prompt_end: str
    thought_over: bool


@lru_cache(maxsize=128)
def _grammar(wanted: _Wanted) -> tuple[str, Mapping[str, Explored]]:
    """The grammar, and the schemas of the tools by their texts. Takes milliseconds for each tool.
    Errors: InvalidRequest.
    """
    rules = Rules(json_grammar)
    thought = None if wanted.reasoning is None else reasoning_format(wanted.reasoning)
    introduction = "" if thought is None else thought.introduction
    answer = _answer(rules, wanted, introduction)
    if thought is not None and not wanted.thought_over:
        answer = sequence(thought.grammar(rules, wanted.prompt_end), answer)
    texts = (json.dumps(tool(json.loads(text)).schema) for text in wanted.tools)
    schemas = {text: found for text in texts if (found := known(text)) is not None}
    return rules.grammar(answer), schemas


def _answer(rules: Rules, wanted: _Wanted, introduction: str) -> str:
    """The expression of what follows the thought; `introduction` stands before a text."""
    own = None
    if wanted.structure is not None:
        own = sequence(literal(introduction), rules.include(_own(wanted.structure)))
    if wanted.tool_format is None or not wanted.tools:
        return own or '""'
    form = tool_format(wanted.tool_format)
    declared = [_keepable(tool(json.loads(text)), wanted.use, form) for text in wanted.tools]
    # formats have rules of their own, of shorter names
    calls = rules.define("whole_calls", form.grammar(rules, declared, wanted.use.several))
    if wanted.use.required:
        return calls
    if own is not None:
        return either((calls, own))
    return _text_or(rules, calls, _opening(form), introduction)


def _text_or(rules: Rules, calls: str, opening: str, introduction: str) -> str:
    """Any text, then calls: what opens one is no text."""
    if len(opening) == 1:
        first = f"[^\\{opening}]"
        return either((calls, sequence(first, "[^\\0]*"), '""'))
    text = rules.define(
        "free_text", f"TagDispatch(loop_after_dispatch=false, excludes=({literal(opening)}))"
    )
    if introduction:
        return either((calls, sequence(literal(introduction), text)))
    return sequence(text, optional(calls))


def _opening(form: ToolFormat) -> str:
    """What a model writes before it names the tool it calls: a mark, or the beginning of it all."""
    beginning = form.write([Call(_NAME, id="aaaaaaaaa")]).partition(_NAME)[0]
    marks = [mark for mark in form.parser("", {}).markers if beginning.startswith(mark)]
    return max(marks, key=len, default=beginning)


def _own(structure: Structure) -> str:
    """Errors: InvalidRequest for a schema that cannot be kept to."""
    if structure.kind is StructureKind.GRAMMAR:
        return structure.value
    return json_grammar(structure.value or json.dumps(_ANY_OBJECT))


def _keepable(wanted: Tool, use: ToolUse, form: ToolFormat) -> Tool:
    """The tool itself; with any object for arguments, where its schema is none that a grammar can
    keep, and need not be kept. Errors: InvalidRequest where it must.
    """
    strict = wanted.name in use.strict
    try:
        json_grammar(json.dumps(wanted.schema))
    except InvalidRequest as error:
        if not strict:
            return attrs.evolve(wanted, parameters=_ANY_OBJECT)
        raise _not_kept(wanted, error.message) from error
    if strict and (lost := form.unkept(wanted.schema)) is not None:
        raise _not_kept(
            wanted, f"this model does not write calls as JSON, and {lost} is kept in JSON alone."
        )
    return wanted


def _not_kept(wanted: Tool, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The parameters of {wanted.name} cannot be kept to: {why}",
        hint="Make them simpler, or leave strict out.",
        param="tools",
    )
