"""Kimi K2's format: in a section of calls, `<|tool_call_begin|>functions.f:0
<|tool_call_argument_begin|>{"x": 1}<|tool_call_end|>` for each.

What stands before the arguments is the call's id: the tool's name, and which call of the
conversation it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openllm.answer.calls import NoCall
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.json_call import JsonReader
from openllm.answer.reader import Phrases, Wait

SECTION, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
OPEN, ARGS, CLOSE = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_BEGIN, _ARGS, _CLOSE = Phrases(SECTION, OPEN), Phrases(ARGS), Phrases(CLOSE)
_NEXT = Phrases(OPEN, SECTION_END)
_ID = re.compile(r"(?:functions\.)?(?P<name>.+?):\d+")


class KimiParser(JsonReader):
    markers = (SECTION, SECTION_END, OPEN, ARGS, CLOSE)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_BEGIN)):
            yield from self.attempt(self._calls(found), found)

    def _calls(self, mark: str) -> Wait[None]:
        if mark == SECTION:
            mark = yield from self.word(_NEXT)
        if mark != OPEN:
            raise NoCall
        while mark == OPEN:
            yield from self.skip()
            header = yield from self.name()
            known = _ID.fullmatch(header)
            yield from self.demand(_ARGS)
            self.begin(known["name"] if known else header, header if known else None)
            yield from self.arguments()
            self.finish()
            yield from self.word(_CLOSE)
            mark = yield from self.word(_NEXT)


def history_id(call: Call, index: int) -> str:
    """The id that the model itself gives to the conversation's `index`th call."""
    return call.id if _ID.fullmatch(call.id) else f"functions.{call.name}:{index}"


def write(calls: Sequence[Call]) -> str:
    each = (
        f"{OPEN}{history_id(call, at)}{ARGS}{call.arguments}{CLOSE}"
        for at, call in enumerate(calls)
    )
    return f"{SECTION}{''.join(each)}{SECTION_END}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = (
        sequence(
            literal(f"functions.{tool.name}:"), "[0-9]+", literal(ARGS), rules.json(tool.schema)
        )
        for tool in tools
    )
    call = rules.define("call", sequence(literal(OPEN), either(calls), literal(CLOSE)))
    return sequence(literal(SECTION), repeated(call, several), literal(SECTION_END))


FORMAT = ToolFormat(
    parser=KimiParser,
    write=write,
    grammar=grammar,
    signs=((OPEN,), ("<|im_middle|>", "tool_declare")),
    history_id=history_id,
)
