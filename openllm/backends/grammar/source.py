"""A structure before it is a grammar: what is too large to look at, and how xgrammar is given the
rest.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from openllm.answer.schema.writing import json_grammar
from openllm.errors import InvalidRequest
from openllm.types import Structure, StructureKind

if TYPE_CHECKING:
    from xgrammar import CompiledGrammar, GrammarCompiler

MAX_SOURCE = 256 * 1024  # characters
MAX_DEPTH = 64  # brackets within brackets: the compiler recurses

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


def compile_structure(compiler: GrammarCompiler, structure: Structure) -> CompiledGrammar:
    """Errors: what xgrammar raises for a source that it cannot read."""
    kind, value = structure.kind, structure.value
    if kind is StructureKind.JSON_OBJECT:
        return compiler.compile_json_schema('{"type": "object"}', any_whitespace=False)
    if kind is StructureKind.JSON_SCHEMA:
        return compiler.compile_grammar(json_grammar(value))
    if kind is StructureKind.REGEX:
        return compiler.compile_regex(value)
    if kind is StructureKind.CHOICE:
        return compiler.compile_grammar(choice_grammar(json.loads(value)))
    return compiler.compile_grammar(value)


def choice_grammar(choices: list[str]) -> str:
    """A GBNF grammar of literal strings. Errors: ValueError."""
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(c, str) and c for c in choices)
    ):
        raise ValueError("choice must be a list of texts, none of them empty")
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    quoted = (
        '"' + "".join(named.get(character, character) for character in choice) + '"'
        for choice in choices
    )
    return "root ::= " + " | ".join(quoted)


def reason(error: BaseException) -> str:
    """The first line of what the compiler said, without where in its own source."""
    said = error.text if isinstance(error, InvalidRequest) else str(error)
    line = _SOURCE_LOCATION.sub("", said.strip()).partition("\n")[0][:300]
    return line.rstrip(".") or type(error).__name__
