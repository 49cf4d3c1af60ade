"""JSON schemas as grammars without white space between tokens: vLLM has that as a setting of the
engine only.

A weak model fills a JSON answer with white space until its tokens run out; and the engine's setting
would differ from what `vllm serve` resolves to. So the schema is turned into xgrammar's EBNF here,
and vLLM gets a grammar.
"""

from __future__ import annotations

import attrs

from openllm.answer.schema.writing import json_grammar
from openllm.types import Structure, StructureKind

ANY_OBJECT = '{"type": "object"}'


def compacted(structure: Structure) -> Structure:
    """`structure` with a JSON schema written as a grammar; others as they are. Takes milliseconds:
    not for the loop.

    Errors: InvalidRequest for a schema that is no JSON, or that cannot be kept.
    """
    if structure.kind not in (StructureKind.JSON_SCHEMA, StructureKind.JSON_OBJECT):
        return structure
    text = structure.value if structure.kind is StructureKind.JSON_SCHEMA else ANY_OBJECT
    return attrs.evolve(structure, kind=StructureKind.GRAMMAR, value=json_grammar(text))
