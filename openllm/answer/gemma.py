"""What Gemma's formats of calls share: `call:f{x:1,y:<mark>text<mark>}` between two marks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import attrs

from openllm.answer.calls import NoCall, Tools
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.literals import Values
from openllm.answer.reader import Phrases, Wait
from openllm.answer.unkept import in_literals
from openllm.answer.values import ValueReader, as_json, kinds, properties, quoted

_CALL = Phrases("call:")
_KEY = re.compile(r"[^<>{}\[\]:,]+")
_PLAIN = re.compile(r"[^{}\[\],<]+")  # a value without marks
_DEEPEST = 64  # objects and lists within each other


@attrs.frozen
class Marks:
    """The special tokens of one generation of Gemma, and how values are written with them."""

    open: str
    close: str
    mark: str  # on both sides of a text
    between = ","

    def written(self, value: object) -> str:
        """A value in the format."""
        if isinstance(value, str):
            return f"{self.mark}{value}{self.mark}"
        if isinstance(value, Mapping):
            inner = (f"{key}:{self.written(item)}" for key, item in value.items())
            return f"{{{','.join(inner)}}}"
        if isinstance(value, list):
            return f"[{','.join(map(self.written, value))}]"
        return json.dumps(value)

    def text(self, rules: Rules, least: int, most: int | None) -> str:
        inside = rules.text_before(self.mark, least, most)
        return sequence(literal(self.mark), inside, literal(self.mark))

    def key(self, name: str) -> str:
        return f"{name}:"


class GemmaReader(ValueReader):
    """The parser, told the marks by its subclasses."""

    marks: Marks

    def read(self) -> Wait[None]:
        self._text_mark = Phrases(self.marks.mark)
        begin, close = Phrases(self.marks.open), Phrases(self.marks.close)
        while found := (yield from self.text_until(begin)):
            if (yield from self.attempt(self._call(), found)):
                yield from self.word(close)

    def _call(self) -> Wait[None]:
        yield from self.demand(_CALL)
        self.begin((yield from self.name()))
        yield from self._object(1)
        self.finish()

    def _object(self, depth: int) -> Wait[None]:
        yield from self.expect("{")
        own = properties(self.tools, self.called) if depth == 1 else {}
        root = self.tools.get(self.called, {})
        opening = "{"
        while (yield from self.skip(", \t\r\n")) != "}":
            key = yield from self._key()
            yield from self.expect(":")
            self.argue(f"{opening}{quoted(key)}: ")
            opening = ", "
            yield from self._value(kinds(own.get(key), root), depth + 1)
        self.take(1)
        self.argue("{}" if opening == "{" else "}")

    def _key(self) -> Wait[str]:
        if not (yield from self.word(self._text_mark)):
            return (yield from self.name(_KEY)).strip()
        pieces: list[str] = []
        if not (yield from self.until(self._text_mark, pieces.append)):
            raise NoCall
        return "".join(pieces)

    def _value(self, allowed: frozenset[str], depth: int) -> Wait[None]:
        if depth > _DEEPEST:
            raise NoCall
        if (yield from self.word(self._text_mark)):
            yield from self._text(allowed)
            return
        first = yield from self.skip()
        if first == "{":
            yield from self._object(depth)
        elif first == "[":
            yield from self._list(depth)
        else:
            self.argue(as_json((yield from self.name(_PLAIN)), allowed))

    def _text(self, allowed: frozenset[str]) -> Wait[None]:
        """A text, up to its end mark; one generation writes all values so, also numbers."""
        if allowed and "string" not in allowed:
            pieces: list[str] = []
            if not (yield from self.until(self._text_mark, pieces.append)):
                raise NoCall
            self.argue(as_json("".join(pieces), allowed))
            return
        self.argue('"')
        if not (yield from self.until(self._text_mark, self.argue_inside)):
            raise NoCall
        self.argue('"')

    def _list(self, depth: int) -> Wait[None]:
        self.take(1)
        opening = "["
        while (yield from self.skip(", \t\r\n")) != "]":
            self.argue(opening)
            opening = ", "
            yield from self._value(frozenset(), depth + 1)
        self.take(1)
        self.argue("[]" if opening == "[" else "]")


def gemma_format(parser: type[GemmaReader], marks: Marks) -> ToolFormat:
    """The format with these marks."""

    def read(prompt_end: str, tools: Tools) -> GemmaReader:
        return parser(prompt_end, tools)

    def write(calls: Sequence[Call]) -> str:
        return "".join(
            f"{marks.open}call:{call.name}{marks.written(call.values)}{marks.close}"
            for call in calls
        )

    def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
        calls = (
            sequence(literal(tool.name), Values(rules, marks, tool.schema).mapping(tool.schema))
            for tool in tools
        )
        begin, end = literal(f"{marks.open}call:"), literal(marks.close)
        return repeated(rules.define("call", sequence(begin, either(calls), end)), several)

    return ToolFormat(
        parser=read, write=write, grammar=grammar, unkept=in_literals, signs=((marks.open,),)
    )
