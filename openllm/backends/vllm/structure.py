"""JSON schemas as grammars without white space between tokens: vLLM has that as a setting of the
engine only.

A weak model fills a JSON answer with white space until its tokens run out; and the engine's setting
would differ from what `vllm serve` resolves to. So the schema is turned into xgrammar's EBNF here,
and vLLM gets a grammar.
"""

from __future__ import annotations

import json
import re

import attrs

from openllm.backends.json_grammar import json_grammar
from openllm.errors import InvalidRequest
from openllm.types import Structure, StructureKind

_PLACE = re.compile(r"^\[[\d:]+\] \S+: ")  # the time and source line of xgrammar's C++
ANY_OBJECT = '{"type": "object"}'


def compacted(structure: Structure) -> Structure:
    """`structure` with a JSON schema written as a grammar; others as they are. Takes milliseconds:
    not for the loop.

    Errors: InvalidRequest for a schema that is no JSON, or that xgrammar cannot follow.
    """
    if structure.kind not in (StructureKind.JSON_SCHEMA, StructureKind.JSON_OBJECT):
        return structure
    text = structure.value if structure.kind is StructureKind.JSON_SCHEMA else ANY_OBJECT
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.", param="structure") from None
    if not isinstance(schema, dict | bool):
        raise InvalidRequest("The schema must be a JSON object.", param="structure")
    if _needs_another_compiler(schema):
        return structure
    return attrs.evolve(structure, kind=StructureKind.GRAMMAR, value=_ebnf(text))


def _needs_another_compiler(schema: object) -> bool:
    """Whether vLLM compiles this schema with guidance, because it has what xgrammar cannot do."""
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

    return isinstance(schema, dict) and bool(has_xgrammar_unsupported_json_features(schema))


def _ebnf(schema: str) -> str:
    try:
        return json_grammar(schema)
    except (RuntimeError, ValueError) as error:
        line = _PLACE.sub("", " ".join(str(error).split()))[:300]
        raise InvalidRequest(f"The schema cannot be followed: {line}", param="structure") from None
