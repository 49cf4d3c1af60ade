"""What all parsers of calls share: a call is told while it is written, and what turns out to be
none is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from openllm.answer.parts import new_call_id
from openllm.answer.reader import SPACE, Phrases, Reader, Wait
from openllm.types import ToolCall

Tools = Mapping[str, Mapping[str, Any]]  # the JSON schema of each tool's arguments, by its name
NO_TOOLS: Tools = MappingProxyType({})
LONGEST_NAME = 256  # characters
# no white space, and none of the signs that formats end a name with
TOOL_NAME = re.compile(r"[^\s<>\[\](){}\"'`=,|\uff5c]+")
ARGUMENT_NAME = re.compile(r"[^<>\"'\n]+")  # the name of an argument, which may have spaces in it


class NoCall(Exception):
    """What was begun as a call is none, or ends before the call does."""


class CallReader(Reader):
    """Base of the parsers of calls.

    A call is certain as soon as its name and the first of its arguments have come: from there on
    it is told, and stays a call even if it is never ended. Up to there, what is read is kept, and
    becomes text if it is none. `tools` are those of the request, if it says any.
    """

    def __init__(self, prompt_end: str = "", tools: Tools = NO_TOOLS) -> None:
        super().__init__()
        self.tools = tools
        self._trying = False
        self._written = ""  # what was read of a call that is not certain
        self._index = 0
        self.called = ""  # the name of the call that has begun
        self._id: str | None = None
        self.certain = False  # its first piece has been told

    def take(self, size: int) -> str:
        taken = super().take(size)
        if self.keeping:
            self._written += taken
        return taken

    def attempt(self, reading: Wait[None], written: str = "") -> Wait[bool]:
        """Read what may be a call, of which `written` has been read; whether it was one."""
        self._trying = self.keeping = True
        self._written = written
        try:
            yield from reading
        except NoCall:
            if self.certain:
                self.finish()
            else:
                self.tell_text(self._written)
            return False
        finally:
            self._trying = self.keeping = False
        return True

    def begin(self, name: str, id: str | None = None) -> None:
        """A call of `name` has begun; nothing is told of it yet."""
        self.called, self._id = name, id

    def argue(self, fragment: str) -> None:
        """Tell a piece of the arguments, which are JSON."""
        if not fragment:
            return
        if self.certain:
            self._found.append(ToolCall(self._index, fragment))
            return
        self.certain, self.keeping = True, False
        self.tell(ToolCall(self._index, fragment, self._id or new_call_id(), self.called))

    def finish(self) -> None:
        """The call is complete; one that has no arguments has an empty object of them."""
        if not self.certain:
            self.argue("{}")
        self._index += 1
        self.certain, self.keeping, self._written = False, self._trying, ""

    # What calls are made of. All of these give up (NoCall) where the text does not go on so.

    def expect(self, letters: str, after: str = SPACE) -> Wait[str]:
        """Read one of `letters`, and characters of `after` before it."""
        letter = yield from self.skip(after)
        if not letter or letter not in letters:
            raise NoCall
        return self.take(1)

    def demand(self, words: Phrases, after: str = SPACE) -> Wait[str]:
        """Read one of `words`, and characters of `after` before it."""
        found = yield from self.word(words, after)
        if not found:
            raise NoCall
        return found

    def name(self, letters: re.Pattern[str] = TOOL_NAME) -> Wait[str]:
        """Read the name of a tool, or of an argument: all that comes of `letters`."""
        name = ""
        while len(name) < LONGEST_NAME and (yield from self.some()):
            found = letters.match(self.held, 0, LONGEST_NAME - len(name))
            name += self.take(found.end() if found else 0)
            if self.held:
                break
        if not name:
            raise NoCall
        return name
