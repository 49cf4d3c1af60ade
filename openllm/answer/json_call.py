"""One call of a tool as a JSON object, read as it comes: a name, and arguments as they are."""

from __future__ import annotations

import json
from enum import Enum, auto

NAME_KEYS = frozenset(("name",))
ARGUMENT_KEYS = frozenset(("arguments", "parameters"))
_SPACE = " \t\r\n"


class State(Enum):
    """How far a `JsonCall` has come."""

    OPEN = auto()
    DONE = auto()  # the object is complete, and is a call
    BROKEN = auto()  # it is none


class JsonCall:
    """An object with a name and arguments: `{"name": "f", "arguments": {"x": 1}}`.

    The arguments may stand before the name, and are then held back until it is known; they may also
    be a text that holds the object. Other keys are passed over.
    """

    def __init__(self) -> None:
        self.state = State.OPEN
        self.name: str | None = None
        self._depth = 0  # of open braces and brackets
        self._in_string = self._escaped = False
        self._token = ""  # the string at depth 1 that is being read, or was read last
        self._key: str | None = None  # whose value comes now
        self._value = ""  # the arguments as far as they have come
        self._complete = False  # they are all here
        self._told = 0  # characters of them that `take` has given out

    def feed(self, text: str) -> int:
        """Read on; how many characters of `text` belong to the object (all of them while OPEN)."""
        for at, letter in enumerate(text):
            if not self._step(letter):
                self.state = State.BROKEN
                return at
            if self._depth == 0 and letter == "}":
                good = self.name is not None and (self._complete or not self._value)
                self.state = State.DONE if good else State.BROKEN
                return at + 1
        return len(text)

    def take(self) -> str:
        """What is new of the arguments, once the name is known.

        A text that holds the object is given out whole, once it is complete.
        """
        if self.name is None:
            return ""
        value = self._value
        if value.startswith('"'):
            if not self._complete:
                return ""
            value = json.loads(value)
        else:
            value = value.rstrip(_SPACE)  # they may be those after the value
        fresh, self._told = value[self._told :], max(self._told, len(value))
        return fresh

    def _step(self, letter: str) -> bool:
        """Read one character; whether the object can still be one."""
        if self._depth == 0:
            if letter in _SPACE:
                return True
            self._depth = 1
            return letter == "{"
        if self._in_string:
            self._inside_string(letter)
            return True
        inside_value = self._key is not None
        if letter == '"':
            self._in_string = True
            self._token = ""
        elif letter in "{[":
            self._depth += 1
        elif letter in "}]":
            self._depth -= 1
        elif letter == ":" and self._depth == 1 and not inside_value:
            self._key = self._token
            return True
        if (self._depth == 1 and letter == ",") or self._depth == 0:
            return self._end_value()
        if inside_value:
            self._keep(letter)
            return True
        return self._depth == 1 and (letter in _SPACE or letter == '"')

    def _inside_string(self, letter: str) -> None:
        if self._escaped:
            self._escaped = False
        elif letter == "\\":
            self._escaped = True
        elif letter == '"':
            self._in_string = False
        if self._in_string:
            self._token += letter
        if self._key is not None:
            self._keep(letter)
            if not self._in_string and self._depth == 1:
                self._text_value()

    def _keep(self, letter: str) -> None:
        if self._key not in ARGUMENT_KEYS or self._complete:
            return
        if self._value or letter not in _SPACE:
            self._value += letter

    def _text_value(self) -> None:
        """A text at the object's own level has ended."""
        if self._key in NAME_KEYS and self.name is None:
            self.name = _decoded(self._token)

    def _end_value(self) -> bool:
        if self._key in ARGUMENT_KEYS and self._value:
            self._complete = True
        self._key = None
        return True


def _decoded(inside: str) -> str | None:
    """The text between two quotes; None where it is no JSON."""
    try:
        text: str = json.loads(f'"{inside}"')
    except ValueError:
        return None
    return text
