"""Llama 3's format: `{"name": "f", "parameters": {"x": 1}}`, several with `; ` between them, often
after `<|python_tag|>`.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, repeated
from openllm.answer.json_call import BareReader, call_grammar, written
from openllm.answer.reader import Phrases

TAG = "<|python_tag|>"
KEYS = ("name", "parameters")


class Llama3Parser(BareReader):
    markers = (TAG,)
    begins = Phrases("\n", TAG)


def write(calls: Sequence[Call]) -> str:
    return "; ".join(written(call, KEYS) for call in calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    call = rules.define("call", call_grammar(rules, tools, KEYS))
    return repeated(call, several, literal("; "))


FORMAT = ToolFormat(
    parser=Llama3Parser,
    write=write,
    grammar=grammar,
    signs=(("dictionary of argument name",), (TAG,)),
)
