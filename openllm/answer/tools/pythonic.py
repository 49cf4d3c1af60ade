"""The format of Llama 3.2 and 4 and others: a list of calls in Python, `[f(x=1), g(y="a")]`.

A call is told once it is complete: only then is it known to be one.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Sequence
from typing import ClassVar

from openllm.answer.calls import CallReader, NoCall
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.json_call import Value
from openllm.answer.literals import Values
from openllm.answer.reader import Phrases, Wait

START, END = "<|python_start|>", "<|python_end|>"
_END = Phrases(END)
_LONGEST = 250_000  # characters of one call
_JSON_NAMES = {"true": True, "false": False, "null": None}


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
            call = ast.parse(f"f{arguments}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise NoCall
        found = {keyword.arg: _value(keyword.value) for keyword in call.keywords}
        return _joined(json.dumps(found, ensure_ascii=False, allow_nan=False))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise NoCall from None


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

    def text(self, rules: Rules) -> str:
        if not rules.has("python_text"):
            quoted = (
                sequence(literal(quote), rf"([^\\{quote}\n\r] | [\\] [\\nrt'\"])*", literal(quote))
                for quote in "\"'"
            )
            rules.define("python_text", either(quoted))
        return "python_text"

    def key(self, name: str) -> str:
        return f"{name!r}: "


def write(calls: Sequence[Call]) -> str:
    return f"[{', '.join(map(_written, calls))}]"


def _written(call: Call) -> str:
    arguments = json.loads(call.arguments)
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


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
    signs=(("[func_name1(",), (START, "[func_name")),
)
