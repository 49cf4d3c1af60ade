"""A call of a tool is a line in capitals."""

from collections.abc import Sequence

from openllm_shout.lines import LineParser

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated
from openllm.types import Part, Text, ToolCall


class ShoutParser(LineParser):
    calls = 0

    def part(self, line: str) -> Part:
        if not line.isupper():
            return Text(line)
        index, self.calls = self.calls, self.calls + 1
        return ToolCall(index, "{}", f"call_{index}", line.strip().lower())


def write(calls: Sequence[Call]) -> str:
    return "".join(f"{call.name.upper()}\n" for call in calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    return repeated(either(literal(f"{tool.name.upper()}\n") for tool in tools), several)


FORMAT = ToolFormat(parser=ShoutParser, write=write, grammar=grammar)
