"""Phi-4's format: `functools[{"name": "f", "arguments": {"x": 1}}]`, or the list between
`<|tool_call|>` and `<|/tool_call|>`.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, sequence
from openllm.answer.json_call import JsonReader, array_grammar, array_of
from openllm.answer.reader import Phrases, Wait

WORD, OPEN, CLOSE = "functools", "<|tool_call|>", "<|/tool_call|>"
_OPEN, _CLOSE = Phrases(f"{WORD}[", OPEN), Phrases(CLOSE)


class Phi4Parser(JsonReader):
    markers = (OPEN, CLOSE)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_OPEN)):
            if found != OPEN:
                self.held, found = f"[{self.held}", WORD
            if (yield from self.attempt(self.json_calls(), found)) and found == OPEN:
                yield from self.word(_CLOSE)


def write(calls: Sequence[Call]) -> str:
    return WORD + array_of(calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = rules.define("calls", array_grammar(rules, tools, several))
    marked = sequence(literal(OPEN), calls, literal(CLOSE))
    return either((sequence(literal(WORD), calls), marked))


FORMAT = ToolFormat(
    parser=Phi4Parser,
    write=write,
    grammar=grammar,
    signs=((f"{WORD}[",), ("<|tool|>", "<|/tool|>"), (OPEN, CLOSE)),
)
