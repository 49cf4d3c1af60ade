"""Hermes' format, also Qwen's: `<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>`."""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, repeated, sequence
from openllm.answer.json_call import JsonReader, call_grammar, written
from openllm.answer.reader import Phrases, Wait

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_OPEN, _CLOSE = Phrases(OPEN), Phrases(CLOSE)


class HermesParser(JsonReader):
    markers = (OPEN, CLOSE)

    def read(self) -> Wait[None]:
        while (yield from self.text_until(_OPEN)):
            if (yield from self.attempt(self.json_call(), OPEN)):
                yield from self.word(_CLOSE)  # which some models leave out


def write(calls: Sequence[Call]) -> str:
    return "\n".join(f"{OPEN}\n{written(call)}\n{CLOSE}" for call in calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    call = rules.define("call", call_grammar(rules, tools))
    each = sequence(literal(f"{OPEN}\n"), call, literal(f"\n{CLOSE}"))
    return repeated(each, several, literal("\n"))


FORMAT = ToolFormat(
    parser=HermesParser, write=write, grammar=grammar, signs=((OPEN, CLOSE), (OPEN, '"arguments"'))
)
