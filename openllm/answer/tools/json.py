"""Plain JSON, `{"name": "f", "arguments": {"x": 1}}`, on a line of its own: what a model is asked
for whose template knows no tools.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, repeated
from openllm.answer.json_call import BareReader, call_grammar, written


class JsonParser(BareReader):
    """Takes calls in a list or in a block of code too."""


def write(calls: Sequence[Call]) -> str:
    return "\n".join(map(written, calls))


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    call = rules.define("call", call_grammar(rules, tools))
    return repeated(call, several, literal("\n"))


FORMAT = ToolFormat(parser=JsonParser, write=write, grammar=grammar)
