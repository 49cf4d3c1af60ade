"""A thought is a line in brackets."""

from openllm_shout.lines import LineParser

from openllm.answer.formats import ReasoningFormat
from openllm.types import Part, Reasoning, Text


class MutterParser(LineParser):
    def part(self, line: str) -> Part:
        muttered = line.startswith("(") and line.rstrip().endswith(")")
        return Reasoning(line.strip("()\n")) if muttered else Text(line)


FORMAT = ReasoningFormat(
    parser=MutterParser, opening="(", closing=")\n", mark=")\n", begun=lambda prompt_end: False
)
