"""GLM 4.5's format, and that of later ones: the name in `<tool_call>`, and after it each argument's
name in `<arg_key>` and value, bare, in `<arg_value>`.
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
KEY, KEY_END = "<arg_key>", "</arg_key>"
VALUE, VALUE_END = "<arg_value>", "</arg_value>"
_OPEN, _INSIDE, _KEY_END = Phrases(OPEN), Phrases(KEY, CLOSE), Phrases(KEY_END)
_VALUE, _VALUE_END = Phrases(VALUE), Phrases(VALUE_END)


class GlmParser(ValueReader):
    markers = (OPEN, CLOSE, KEY, KEY_END, VALUE, VALUE_END)

    def read(self) -> Wait[None]:
        while (yield from self.text_until(_OPEN)):
            yield from self.attempt(self._call(), OPEN)

    def _call(self) -> Wait[None]:
        yield from self.skip()
        self.begin((yield from self.name()))
        while (yield from self.demand(_INSIDE)) == KEY:
            key = yield from self.name(ARGUMENT_NAME)
            yield from self.demand(_KEY_END)
            yield from self.demand(_VALUE)
            yield from self.bare_value(key, _VALUE_END)
        self.close()


def write(calls: Sequence[Call]) -> str:
    return "\n".join(map(_written, calls))


def _written(call: Call) -> str:
    arguments = (
        f"{KEY}{key}{KEY_END}\n{VALUE}{bare(value)}{VALUE_END}\n"
        for key, value in call.values.items()
    )
    return f"{OPEN}{call.name}\n{''.join(arguments)}{CLOSE}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    def argument(name: str, value: str) -> str:
        between = literal(f"{KEY_END}\n{VALUE}")
        return sequence(literal(KEY), name, between, value, literal(f"{VALUE_END}\n"))

    calls = (
        sequence(literal(f"{tool.name}\n"), bare_arguments(rules, tool.schema, VALUE_END, argument))
        for tool in tools
    )
    call = rules.define("call", sequence(literal(OPEN), either(calls), literal(CLOSE)))
    return repeated(call, several, literal("\n"))


FORMAT = ToolFormat(
    parser=GlmParser,
    write=write,
    grammar=grammar,
    unkept=in_bare_values,
    signs=((OPEN, KEY, VALUE),),
)
