"""Calls of tools as JSON objects, read as they come: a name, and arguments as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import ClassVar

from openllm.answer.calls import CallReader, NoCall
from openllm.answer.formats import Call, Tool
from openllm.answer.grammar import Rules, either, literal, repeated, sequence
from openllm.answer.reader import Phrases, Tell, Wait

NAME_KEYS = frozenset(("name",))
ARGUMENT_KEYS = frozenset(("arguments", "parameters"))
_FIRST = ARGUMENT_KEYS | {"type", "id"}  # keys that may stand before a name
_PLAIN = re.compile(r"[\w+\-.]*")  # a number, true, false or null
_CLOSED_BY = {"{": "}", "[": "]", "(": ")"}
_IN_STRING = {quote: re.compile(rf"[{quote}\\]") for quote in "\"'"}
_OUTSIDE = {quotes: re.compile(rf"[{quotes}{{}}()\[\]]") for quotes in ('"', "\"'")}
# the letters of these
_LETTERS = {quote: frozenset((quote, "\\")) for quote in _IN_STRING}
_LETTERS_OUTSIDE = {quotes: frozenset((*quotes, *"{}()[]")) for quotes in _OUTSIDE}


class Value:
    """Where a value in brackets or quotes ends: those are matched, no more is looked at.

    `quotes` are those that strings may have; `opened` the bracket that has been read.
    """

    def __init__(self, quotes: str = '"', opened: str = "") -> None:
        self.complete = False
        self.broken = False
        self._quotes = quotes
        self._quote = ""  # of the string that is being read
        self.escaped = False
        self._closing = _CLOSED_BY.get(opened, "")  # the brackets that are due, innermost last

    def feed(self, text: str) -> int:
        """Read on; how many characters of `text` belong to the value."""
        at = 0
        while at < len(text) and not self.complete:
            if self.escaped:
                self.escaped, at = False, at + 1
                continue
            sign = _IN_STRING[self._quote] if self._quote else _OUTSIDE[self._quotes]
            found = sign.search(text, at)
            if found is None:
                return len(text)
            at = found.end()
            self._sign(found.group())
            if self.broken:
                return at - 1
        return at

    @property
    def letters(self) -> frozenset[str]:
        """Text without these ends nothing in the value, while that is not `escaped`."""
        if self._quote:
            return _LETTERS[self._quote]
        return _LETTERS_OUTSIDE[self._quotes]

    def _sign(self, sign: str) -> None:
        if sign == "\\":
            self.escaped = True
        elif sign == self._quote:
            self._quote = ""
            self.complete = not self._closing
        elif sign in self._quotes:
            self._quote = sign
        elif sign in _CLOSED_BY:
            self._closing += _CLOSED_BY[sign]
        elif self._closing.endswith(sign):
            self._closing = self._closing[:-1]
            self.complete = not self._closing
        else:
            self.broken = True


class JsonReader(CallReader):
    """Base of the parsers of calls in JSON; what these methods find wrong is a NoCall."""

    def json_value(self, tell: Tell) -> Wait[None]:
        """Read the JSON value that comes next, and tell it piece by piece."""
        first = yield from self.skip()
        if first and first in '{["':
            value = Value()
            while not value.complete:
                if not self.held:
                    if not value.escaped:
                        self.wait_for(value.letters, tell)
                    if not (yield from self.more()):
                        raise NoCall
                if size := value.feed(self.held):
                    tell(self.take(size))
                if value.broken:
                    raise NoCall
            return
        plain = yield from self._plain()
        if not plain:
            raise NoCall
        tell(plain)

    def _plain(self) -> Wait[str]:
        plain = ""
        while (yield from self.some()):
            found = _PLAIN.match(self.held)
            plain += self.take(found.end() if found else 0)
            if self.held:
                break
        return plain

    def json_text(self) -> Wait[str]:
        """Read the JSON string that comes next; what it says."""
        if (yield from self.skip()) != '"':
            raise NoCall
        return str(_loaded((yield from self._whole_value())))

    def _whole_value(self) -> Wait[str]:
        pieces: list[str] = []
        yield from self.json_value(pieces.append)
        return "".join(pieces)

    def arguments(self) -> Wait[None]:
        """Read the arguments of the call that has begun: an object, told as it comes; or a text
        that holds one, or null.
        """
        if (yield from self.skip()) == "{":
            yield from self.json_value(self.argue)
        else:
            self.argue(_object((yield from self._whole_value())))

    def json_call(self, names: Collection[str] = NAME_KEYS, *, bare: bool = False) -> Wait[None]:
        """Read one call: `{"name": "f", "arguments": {"x": 1}}`.

        Arguments that stand before the name are held back until it is known. Keys that a call
        does not have are passed over. `bare`: nothing but its shape says that it is a call, which
        is then that of a tool of the request, if those are known, or has arguments.
        """
        yield from self.expect("{")
        name, kept = "", ""  # the arguments, when they came before the name
        while (yield from self.skip(" \t\r\n,")) != "}":
            key = yield from self.json_text()
            yield from self.expect(":")
            if bare and not name and key not in names and key not in _FIRST:
                raise NoCall
            if key in names and not name:
                name = yield from self.json_text()
                if bare and self.tools and name not in self.tools:
                    raise NoCall
                self.begin(name)
            elif key in ARGUMENT_KEYS and name and not self.certain:
                yield from self.arguments()
            else:
                value = yield from self._whole_value()
                kept = _object(value) if key in ARGUMENT_KEYS and not kept else kept
        if not name or (bare and not self.tools and not (kept or self.certain)):
            raise NoCall
        self.take(1)
        if not self.certain:
            self.argue(kept)
        self.finish()

    def json_calls(self, names: Collection[str] = NAME_KEYS, *, bare: bool = False) -> Wait[None]:
        """Read one call, or an array of calls."""
        if (yield from self.skip()) != "[":
            yield from self.json_call(names, bare=bare)
            return
        self.take(1)
        yield from self.json_call(names, bare=bare)
        while (yield from self.expect(",]")) == ",":
            yield from self.json_call(names, bare=bare)


class BareReader(JsonReader):
    """Base of the parsers of calls that no mark need tell: an object or an array of calls begins
    the answer, or what follows one of `begins`; perhaps it is in a block of code.
    """

    begins: ClassVar[Phrases] = Phrases("\n")
    closings: ClassVar[Phrases] = Phrases()

    def read(self) -> Wait[None]:
        mark = ""
        while True:
            yield from self.attempt(self._bare_calls(), mark)
            mark = yield from self.text_until(self.begins)
            if not mark:
                return

    def _bare_calls(self) -> Wait[None]:
        fenced = yield from self.word(_FENCE)
        if fenced:
            yield from self.word(_LANGUAGE, "")
        yield from self.json_calls(bare=True)
        while (yield from self.word(_BETWEEN)):
            yield from self.json_calls(bare=True)
        if fenced:
            yield from self.word(_FENCE)
        yield from self.word(self.closings)


_FENCE, _LANGUAGE, _BETWEEN = Phrases("```"), Phrases("json", "tool_call"), Phrases(";")


def written(call: Call, keys: tuple[str, str] = ("name", "arguments")) -> str:
    """The object of one call."""
    return f'{{"{keys[0]}": {json.dumps(call.name)}, "{keys[1]}": {call.arguments}}}'


def call_grammar(
    rules: Rules, tools: Sequence[Tool], keys: tuple[str, str] = ("name", "arguments")
) -> str:
    """The object of a call of one of `tools`, as `written` writes it."""
    return either(
        sequence(
            literal(f'{{"{keys[0]}": {json.dumps(tool.name)}, "{keys[1]}": '),
            rules.json(tool.schema),
            literal("}"),
        )
        for tool in tools
    )


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise NoCall from None


def _object(value: str) -> str:
    """Arguments as they stand in JSON; a text stands for what it says, null for none."""
    if value.startswith('"'):
        return str(_loaded(value)) or "{}"
    if value == "null":
        return "{}"
    if value[0] not in "{[":
        raise NoCall
    return value


def array_of(calls: Sequence[Call]) -> str:
    """The array of several calls."""
    return f"[{', '.join(map(written, calls))}]"


def array_grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    """An array of one call of one of `tools`, or of several, as `array_of` writes it."""
    call = rules.define("call", call_grammar(rules, tools))
    return sequence(literal("["), repeated(call, several, literal(", ")), literal("]"))
