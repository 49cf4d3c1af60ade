"""A call of a tool is a line in capitals."""

from openllm_shout.lines import LineParser

from openllm.types import Part, Text, ToolCall


class ShoutParser(LineParser):
    calls = 0

    def part(self, line: str) -> Part:
        if not line.isupper():
            return Text(line)
        index, self.calls = self.calls, self.calls + 1
        return ToolCall(index, "{}", f"call_{index}", line.strip().lower())


PARSER = ShoutParser
