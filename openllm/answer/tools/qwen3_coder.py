"""Qwen3-Coder's format: `<function=f>` in `<tool_call>`, and in it each argument bare, on lines of
its own, in `<parameter=x>`.

Nemotron 3 and Granite 4.2 have it too.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.calls import ARGUMENT_NAME
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.reader import Phrases, Wait
from openllm.answer.unkept import in_bare_values
from openllm.answer.values import ValueReader, bare, bare_arguments

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
_BEGIN, _FUNCTION, _NEXT = Phrases(OPEN, FUNCTION), Phrases(FUNCTION), Phrases(FUNCTION, CLOSE)
_INSIDE, _END = Phrases(PARAMETER, FUNCTION_END), Phrases(PARAMETER_END)


class Qwen3CoderParser(ValueReader):
    markers = (OPEN, CLOSE)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_BEGIN)):
            yield from self.attempt(self._calls(found), found)

    def _calls(self, mark: str) -> Wait[None]:
        if mark == OPEN:
            mark = yield from self.demand(_FUNCTION)
        while mark == FUNCTION:
            name = yield from self.name()
            yield from self.expect(">", "")
            self.begin(name)
            yield from self._arguments()
            mark = yield from self.word(_NEXT)

    def _arguments(self) -> Wait[None]:
        while (yield from self.demand(_INSIDE)) == PARAMETER:
            key = yield from self.name(ARGUMENT_NAME)
            yield from self.expect(">", "")
            yield from self.bare_value(key, _END, on_lines=True)
        self.close()


def write(calls: Sequence[Call]) -> str:
    return "\n".join(map(_written, calls))


def _written(call: Call) -> str:
    arguments = (
        f"{PARAMETER}{key}>\n{bare(value)}\n{PARAMETER_END}\n" for key, value in call.values.items()
    )
    return f"{OPEN}\n{FUNCTION}{call.name}>\n{''.join(arguments)}{FUNCTION_END}\n{CLOSE}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    def argument(name: str, value: str) -> str:
        begin, end = literal(PARAMETER), literal(f"\n{PARAMETER_END}\n")
        return sequence(begin, name, literal(">\n"), value, end)

    calls = (
        sequence(
            literal(f"{tool.name}>\n"), bare_arguments(rules, tool.schema, PARAMETER_END, argument)
        )
        for tool in tools
    )
    begin, end = literal(f"{OPEN}\n{FUNCTION}"), literal(f"{FUNCTION_END}\n{CLOSE}")
    call = rules.define("call", sequence(begin, either(calls), end))
    return repeated(call, several, literal("\n"))


FORMAT = ToolFormat(
    parser=Qwen3CoderParser,
    write=write,
    grammar=grammar,
    unkept=in_bare_values,
    signs=((OPEN, FUNCTION, PARAMETER),),
)
