"""Granite 3's format: `<|tool_call|>[{"name": "f", "arguments": {"x": 1}}]`.

Some of these models write the mark `<tool_call>`; with that, and an object in place of the list,
Granite 4's format is Hermes'.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, sequence
from openllm.answer.json_call import JsonReader, array_grammar, array_of
from openllm.answer.reader import Phrases, Wait

OPEN, PLAIN, CLOSE = "<|tool_call|>", "<tool_call>", "</tool_call>"
_OPEN, _CLOSE = Phrases(OPEN, PLAIN), Phrases(CLOSE)


class GraniteParser(JsonReader):
    markers = (OPEN, PLAIN, CLOSE)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_OPEN)):
            if (yield from self.attempt(self.json_calls(), found)) and found == PLAIN:
                yield from self.word(_CLOSE)


def write(calls: Sequence[Call]) -> str:
    return OPEN + array_of(calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    return sequence(literal(OPEN), array_grammar(rules, tools, several))


FORMAT = ToolFormat(
    parser=GraniteParser, write=write, grammar=grammar, signs=((OPEN, "<|start_of_role|>"),)
)
