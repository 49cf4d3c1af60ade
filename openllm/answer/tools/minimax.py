"""MiniMax M2's format: in `<minimax:tool_call>` an `<invoke name="f">` for each call, and in that
each argument bare in `<parameter name="x">`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from openllm.answer.calls import ARGUMENT_NAME, TOOL_NAME
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.reader import Phrases, Wait
from openllm.answer.unkept import in_bare_values
from openllm.answer.values import ValueReader, bare, bare_arguments

OPEN, CLOSE = "<minimax:tool_call>", "</minimax:tool_call>"
INVOKE, INVOKE_END = "<invoke name=", "</invoke>"
PARAMETER, PARAMETER_END = "<parameter name=", "</parameter>"
_OPEN, _INVOKE, _NEXT = Phrases(OPEN), Phrases(INVOKE), Phrases(INVOKE, CLOSE)
_INSIDE, _END = Phrases(PARAMETER, INVOKE_END), Phrases(PARAMETER_END)
_QUOTE = Phrases('"', "'")


class MinimaxParser(ValueReader):
    markers = (OPEN, CLOSE)

    def read(self) -> Wait[None]:
        while (yield from self.text_until(_OPEN)):
            yield from self.attempt(self._calls(), OPEN)

    def _calls(self) -> Wait[None]:
        mark = yield from self.demand(_INVOKE)
        while mark == INVOKE:
            self.begin((yield from self._quoted(TOOL_NAME)))
            while (yield from self.demand(_INSIDE)) == PARAMETER:
                key = yield from self._quoted(ARGUMENT_NAME)
                yield from self.bare_value(key, _END)
            self.close()
            mark = yield from self.word(_NEXT)

    def _quoted(self, letters: re.Pattern[str]) -> Wait[str]:
        """A name, perhaps in quotes, and the end of the mark that it stands in."""
        yield from self.word(_QUOTE, "")
        name = yield from self.name(letters)
        yield from self.word(_QUOTE, "")
        yield from self.expect(">", "")
        return name


def write(calls: Sequence[Call]) -> str:
    return f"{OPEN}\n{''.join(map(_written, calls))}{CLOSE}"


def _written(call: Call) -> str:
    arguments = (
        f'{PARAMETER}"{key}">{bare(value)}{PARAMETER_END}\n' for key, value in call.values.items()
    )
    return f'{INVOKE}"{call.name}">\n{"".join(arguments)}{INVOKE_END}\n'


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    def argument(name: str, value: str) -> str:
        begin, end = literal(f'{PARAMETER}"'), literal(f"{PARAMETER_END}\n")
        return sequence(begin, name, literal('">'), value, end)

    calls = (
        sequence(
            literal(f'"{tool.name}">\n'),
            bare_arguments(rules, tool.schema, PARAMETER_END, argument),
        )
        for tool in tools
    )
    begin, end = literal(INVOKE), literal(f"{INVOKE_END}\n")
    call = rules.define("call", sequence(begin, either(calls), end))
    return sequence(literal(f"{OPEN}\n"), repeated(call, several), literal(CLOSE))


FORMAT = ToolFormat(
    parser=MinimaxParser, write=write, grammar=grammar, unkept=in_bare_values, signs=((OPEN,),)
)
