"""Cohere's format for Command: `<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f",
"parameters": {"x": 1}}]<|END_ACTION|>`.

The marks around the answer's text are no part of it. Command R wrote `Action:` and a block of code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.json_call import JsonReader
from openllm.answer.reader import Phrases, Wait

OPEN, CLOSE = "<|START_ACTION|>", "<|END_ACTION|>"
# around the answer's text
WRAPPERS = ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>")
OLD_OPEN, OLD_CLOSE = "Action: ```json", "```"
NAMES = frozenset(("tool_name", "name"))
_BEGIN = Phrases(OPEN, OLD_OPEN, *WRAPPERS)
_CLOSE, _OLD_CLOSE = Phrases(CLOSE), Phrases(OLD_CLOSE)


class CommandParser(JsonReader):
    markers = (OPEN, CLOSE, *WRAPPERS)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_BEGIN)):
            if found in WRAPPERS:
                continue
            if (yield from self.attempt(self.json_calls(NAMES), found)):
                yield from self.word(_CLOSE if found == OPEN else _OLD_CLOSE)


def write(calls: Sequence[Call]) -> str:
    objects = (
        f'{{"tool_call_id": "{at}", "tool_name": {json.dumps(call.name)},'
        f' "parameters": {call.arguments}}}'
        for at, call in enumerate(calls)
    )
    return f"{OPEN}[{', '.join(objects)}]{CLOSE}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = (
        sequence(
            literal('{"tool_call_id": "'),
            "[0-9]+",
            literal(f'", "tool_name": {json.dumps(tool.name)}, "parameters": '),
            rules.json(tool.schema),
            literal("}"),
        )
        for tool in tools
    )
    call = rules.define("call", either(calls))
    listed = repeated(call, several, literal(", "))
    return sequence(literal(f"{OPEN}["), listed, literal(f"]{CLOSE}"))


FORMAT = ToolFormat(
    parser=CommandParser,
    write=write,
    grammar=grammar,
    signs=((OPEN, CLOSE), ("Action:", "tool_name")),
)
