"""Nemotron's format: `<TOOLCALL>[{"name": "f", "arguments": {"x": 1}}]</TOOLCALL>`.

Nemotron 3 writes as Qwen3-Coder does.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, sequence
from openllm.answer.json_call import JsonReader, array_grammar, array_of
from openllm.answer.reader import Phrases, Wait

OPEN, CLOSE = "<TOOLCALL>", "</TOOLCALL>"
_OPEN, _CLOSE = Phrases(OPEN), Phrases(CLOSE)


class NemotronParser(JsonReader):
    markers = (OPEN, CLOSE)

    def read(self) -> Wait[None]:
        while (yield from self.text_until(_OPEN)):
            if (yield from self.attempt(self.json_calls(), OPEN)):
                yield from self.word(_CLOSE)


def write(calls: Sequence[Call]) -> str:
    return f"{OPEN}{array_of(calls)}{CLOSE}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    return sequence(literal(OPEN), array_grammar(rules, tools, several), literal(CLOSE))


FORMAT = ToolFormat(parser=NemotronParser, write=write, grammar=grammar, signs=((OPEN,),))
