"""A structure before it is a grammar: what is too large to look at, and how xgrammar is given the
rest.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import attrs

from openllm.answer.grammar import literal
from openllm.answer.schema.writing import json_grammar
from openllm.errors import InvalidRequest
from openllm.types import Structure, StructureKind

if TYPE_CHECKING:
    from xgrammar import CompiledGrammar, GrammarCompiler

MAX_SOURCE = 256 * 1024  # characters
MAX_DEPTH = 64  # brackets within brackets: the compiler recurses
_ANY_OBJECT = '{"type": "object"}'

_COMMENT = re.compile(r"(#|//).*$")
_SOURCE_LOCATION = re.compile(r"^\[[\d:]+\]\s+\S+:\d+:\s*")  # the time and source line of its C++


def check_source(structure: Structure) -> None:
    """Refuse what could exhaust the compiler's stack. Errors: InvalidRequest."""
    source = structure.value
    if structure.kind is StructureKind.CHOICE:
        return
    if len(source) > MAX_SOURCE:
        raise InvalidRequest(
            f"The structure has {len(source)} characters; {MAX_SOURCE} are allowed.",
            param="structure",
        )
    _check_depth(source)


def _check_depth(source: str) -> None:
    depth = 0
    for character in source:
        if character in "([{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidRequest(
                    f"The structure nests deeper than {MAX_DEPTH}.", param="structure"
                )
        elif character in ")]}":
            depth = max(0, depth - 1)


def written(structure: Structure) -> Structure:
    """The same as a grammar or a regular expression, which xgrammar compiles. A JSON schema is
    written without white space between its tokens: a weak model fills an answer with it.

    Errors: InvalidRequest for a schema that is no JSON or cannot be kept, ValueError.
    """
    kind, text = structure.kind, structure.value
    if kind in (StructureKind.REGEX, StructureKind.GRAMMAR):
        return structure
    if kind is StructureKind.CHOICE:
        text = choice_grammar(json.loads(text))
    else:
        text = json_grammar(text if kind is StructureKind.JSON_SCHEMA else _ANY_OBJECT)
    return attrs.evolve(structure, kind=StructureKind.GRAMMAR, value=text)


def compile_written(compiler: GrammarCompiler, structure: Structure) -> CompiledGrammar:
    """Compile what `written` gives. Errors: what xgrammar raises for what it cannot read."""
    if structure.kind is StructureKind.REGEX:
        return compiler.compile_regex(structure.value)
    if is_lark(structure.value) and hasattr(compiler, "compile_lark"):
        return compiler.compile_lark(structure.value)
    return compiler.compile_grammar(structure.value)


def is_lark(text: str) -> bool:
    """Whether a grammar is written as Lark's are, `rule: ...` in place of `rule ::= ...`: vLLM
    takes both.
    """
    lines = (_COMMENT.sub("", line) for line in text.split("\n"))
    return bool(text.strip()) and not any("::=" in line for line in lines)


def choice_grammar(choices: list[str]) -> str:
    """A GBNF grammar of literal strings. Errors: ValueError."""
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(c, str) and c for c in choices)
    ):
        raise ValueError("choice must be a list of texts, none of them empty")
    return "root ::= " + " | ".join(map(literal, choices))


def reason(error: BaseException) -> str:
    """The first line of what the compiler said, without where in its own source."""
    said = error.message if isinstance(error, InvalidRequest) else str(error)
    line = _SOURCE_LOCATION.sub("", said.strip()).partition("\n")[0][:300]
    return line.rstrip(".") or type(error).__name__
