"""Mistral's format from its tokenizer 11 on: `[TOOL_CALLS]f[ARGS]{"x": 1}` for each call, with
`[CALL_ID]` and an id after the name in some.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, optional, repeated, sequence
from openllm.answer.tools.mistral import ARGS, CALL_ID, OPEN, MistralParser, history_id


def write(calls: Sequence[Call]) -> str:
    return "".join(f"{OPEN}{call.name}{ARGS}{call.arguments}" for call in calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    call_id = optional(sequence(literal(CALL_ID), "[a-zA-Z0-9]{9}"))
    calls = (
        sequence(literal(tool.name), call_id, literal(ARGS), rules.json(tool.schema))
        for tool in tools
    )
    call = rules.define("call", sequence(literal(OPEN), either(calls)))
    return repeated(call, several)


FORMAT = ToolFormat(
    parser=MistralParser,
    write=write,
    grammar=grammar,
    signs=((OPEN, ARGS),),
    history_id=history_id,
)
