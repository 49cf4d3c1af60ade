"""DeepSeek V3's and R1's format: among marks of its own, `function`, a mark, the name, and a block
of code with the arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.reader import Phrases, Wait
from openllm.answer.tools.deepseek_v31 import (
    BETWEEN,
    CLOSE,
    OPEN,
    SECTION,
    SECTION_END,
    DeepSeekParser,
)

KIND, FENCE, FENCE_END = "function", "\n```json\n", "\n```"
_BETWEEN, _FENCE, _FENCE_END = Phrases(BETWEEN), Phrases("```json"), Phrases("```")


class DeepSeekV3Parser(DeepSeekParser):
    def _call(self) -> Wait[None]:
        yield from self.skip()
        yield from self.name()  # the kind of call; there is one
        yield from self.demand(_BETWEEN)
        name = yield from self.name()
        yield from self.demand(_FENCE)
        self.begin(name)
        yield from self.arguments()
        self.finish()
        yield from self.word(_FENCE_END)


def write(calls: Sequence[Call]) -> str:
    each = (
        f"{OPEN}{KIND}{BETWEEN}{call.name}{FENCE}{call.arguments}{FENCE_END}{CLOSE}"
        for call in calls
    )
    return SECTION + "\n".join(each) + SECTION_END


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = (sequence(literal(f"{tool.name}{FENCE}"), rules.json(tool.schema)) for tool in tools)
    begin, end = literal(f"{OPEN}{KIND}{BETWEEN}"), literal(f"{FENCE_END}{CLOSE}")
    call = rules.define("call", sequence(begin, either(calls), end))
    listed = repeated(call, several, literal("\n"))
    return sequence(literal(SECTION), listed, literal(SECTION_END))


FORMAT = ToolFormat(
    parser=DeepSeekV3Parser,
    write=write,
    grammar=grammar,
    signs=((SECTION, "```json"), (BETWEEN, "```json")),
)
