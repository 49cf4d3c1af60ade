"""The format of Llama 3.2 and 4 and others: a list of calls in Python, `[f(x=1), g(y="a")]`.

A call is told once it is complete: only then is it known to be one.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
import warnings
from collections.abc import Sequence
from typing import ClassVar

from openllm.answer.calls import CallReader, NoCall
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, between_times, either, literal, repeated, sequence
from openllm.answer.json_call import Value
from openllm.answer.literals import Values
from openllm.answer.reader import Phrases, Wait
from openllm.answer.unkept import in_literals

START, END = "<|python_start|>", "<|python_end|>"
_END = Phrases(END)
_LONGEST = 250_000  # characters of one call
_LETTER = r"""[^Q\\\n\r] | [\\] [\\nrt'"]"""  # in a text with quotes Q
_JSON_NAMES = {"true": True, "false": False, "null": None}
# A text, or an argument that Python allows no such name: tools have those (from, in, class).
_TEXT_OR_KEYWORD = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    rf"|\b({'|'.join(keyword.kwlist)})(?=\s*=)",
    re.DOTALL,
)
_RENAMED = "__keyword__"  # the end of what such an argument is called while Python reads it


class PythonicParser(CallReader):
    markers = (START, END)
    _begins: ClassVar[Phrases] = Phrases("\n", START)

    def read(self) -> Wait[None]:
        mark = ""
        while True:
            yield from self.attempt(self._calls(), mark)
            mark = yield from self.text_until(self._begins)
            if not mark:
                return

    def _calls(self) -> Wait[None]:
        yield from self.expect("[")
        while True:
            yield from self.skip()
            name = yield from self.name()
            if self.tools and name not in self.tools:
                raise NoCall
            self.begin(name)
            yield from self._arguments()
            self.finish()
            if (yield from self.expect(",]")) == "]":
                break
        yield from self.word(_END)

    def _arguments(self) -> Wait[None]:
        """Read `(x=1, y="a")`."""
        yield from self.expect("(", "")
        value, text = Value(quotes="\"'", opened="("), "("
        while not value.complete:
            if value.broken or len(text) == _LONGEST or not (yield from self.some()):
                raise NoCall
            text += self.take(value.feed(self.held[: _LONGEST - len(text)]))
        self.argue(as_json(text))


def as_json(arguments: str) -> str:
    """`(x=1)` as `{"x": 1}`. Errors: NoCall for what is no constant, or has no name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\\d", which stays as it is
            named = _TEXT_OR_KEYWORD.sub(lambda m: m[1] or m[2] + _RENAMED, arguments)
            call = ast.parse(f"f{named}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise NoCall
        found = {_name(argument): _value(argument.value) for argument in call.keywords}
        return _joined(json.dumps(found, ensure_ascii=False, allow_nan=False))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise NoCall from None


def _name(argument: ast.keyword) -> str:
    if argument.arg is None:  # f(**x)
        raise NoCall
    return argument.arg.removesuffix(_RENAMED)


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [None if key is None else _value(key) for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise NoCall
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Name) and node.id in _JSON_NAMES:
        return _JSON_NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand)
        if isinstance(number, int | float):
            return -number
    raise NoCall


def _joined(text: str) -> str:
    """The same text, its halves of surrogate pairs joined. Errors: ValueError for half a pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


class _Python:
    """How Python writes values."""

    between = ", "

    def written(self, value: object) -> str:
        return repr(value)

    def text(self, rules: Rules, least: int, most: int | None) -> str:
        times = between_times(least, most)
        return either(
            sequence(literal(quote), f"({_LETTER.replace('Q', quote)}){times}", literal(quote))
            for quote in "\"'"
        )

    def key(self, name: str) -> str:
        return f"{name!r}: "


def write(calls: Sequence[Call]) -> str:
    return f"[{', '.join(map(_written, calls))}]"


def _written(call: Call) -> str:
    arguments = (f"{key}={value!r}" for key, value in call.values.items())
    return f"{call.name}({', '.join(arguments)})"


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    calls = [
        sequence(literal(f"{tool.name}("), _arguments(rules, tool), literal(")")) for tool in tools
    ]
    call = rules.define("call", either(calls))
    return sequence(literal("["), repeated(call, several, literal(", ")), literal("]"))


def _arguments(rules: Rules, tool: Tool) -> str:
    values, needed = Values(rules, _Python(), tool.schema), tool.schema.get("required") or ()
    items = [
        (sequence(literal(f"{name}="), values.of(own)), name in needed)
        for name, own in (tool.schema.get("properties") or {}).items()
    ]
    return rules.listed(items, literal(", "))


FORMAT = ToolFormat(
    parser=PythonicParser,
    write=write,
    grammar=grammar,
    unkept=in_literals,
    signs=(("[func_name1(",), (START, "[func_name")),
)
