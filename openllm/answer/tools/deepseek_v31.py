"""DeepSeek V3.1's format: among marks of its own, the name, a mark, and the arguments as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.calls import NoCall
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.json_call import JsonReader
from openllm.answer.reader import Phrases, Wait


def _mark(words: str) -> str:
    """A special token of DeepSeek's, with its full-width bars and lower one-eighth blocks."""
    return f"<\uff5c{words.replace(' ', chr(0x2581))}\uff5c>"


SECTION, SECTION_END = _mark("tool calls begin"), _mark("tool calls end")
OPEN, BETWEEN, CLOSE = _mark("tool call begin"), _mark("tool sep"), _mark("tool call end")
_BEGIN, _NEXT = Phrases(SECTION, OPEN), Phrases(OPEN, SECTION_END)
_BETWEEN, _CLOSE = Phrases(BETWEEN), Phrases(CLOSE)


class DeepSeekParser(JsonReader):
    """Reads a section of calls, each between its marks; `_call` is what stands in them."""

    markers = (SECTION, SECTION_END, OPEN, BETWEEN, CLOSE)

    def read(self) -> Wait[None]:
        while found := (yield from self.text_until(_BEGIN)):
            yield from self.attempt(self._calls(found), found)

    def _calls(self, mark: str) -> Wait[None]:
        if mark == SECTION:
            mark = yield from self.word(_NEXT)
        if mark != OPEN:
            raise NoCall
        while mark == OPEN:
            yield from self._call()
            yield from self.word(_CLOSE)
            mark = yield from self.word(_NEXT)

    def _call(self) -> Wait[None]:
        yield from self.skip()
        name = yield from self.name()
        yield from self.demand(_BETWEEN)
        self.begin(name)
        yield from self.arguments()
        self.finish()


def write(calls: Sequence[Call]) -> str:
    each = (f"{OPEN}{call.name}{BETWEEN}{call.arguments}{CLOSE}" for call in calls)
    return f"{SECTION}{''.join(each)}{SECTION_END}"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = (sequence(literal(f"{tool.name}{BETWEEN}"), rules.json(tool.schema)) for tool in tools)
    call = rules.define("call", sequence(literal(OPEN), either(calls), literal(CLOSE)))
    return sequence(literal(SECTION), repeated(call, several), literal(SECTION_END))


FORMAT = ToolFormat(parser=DeepSeekParser, write=write, grammar=grammar, signs=((SECTION,),))
