"""Hermes' format, also Qwen's: `<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>`."""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.json_call import JsonCall, State
from openllm.answer.parts import new_call_id
from openllm.answer.text import Beginnings
from openllm.types import Part, Text, ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_OPENS = Beginnings([OPEN])


class HermesParser:
    """What is no call stays text, also what was begun as one."""

    def __init__(self, prompt_end: str = "") -> None:
        self._held = ""  # text whose end may begin a call; what follows a call, up to its end
        self._call: JsonCall | None = None
        self._written = ""  # what of the call's text has come, for the case that it is none
        self._begun = False  # the call's name has been told
        self._closing = False  # the object is complete, its closing mark is due
        self._calls = 0

    def feed(self, text: str) -> Sequence[Part]:
        found: list[Part] = []
        self._held += text
        while self._step(found):
            pass
        return found

    def _step(self, found: list[Part]) -> bool:
        """Read on in what is held; whether there is more to do with it now."""
        if self._closing:
            return self._close()
        if self._call is not None:
            return self._read_call(self._call, found)
        text, mark, rest = self._held.partition(OPEN)
        if not mark:
            keep = _OPENS.at_end(text)
            self._held = text[len(text) - keep :]
            _add(found, text[: len(text) - keep])
            return False
        _add(found, text)
        self._held, self._call, self._written, self._begun = rest, JsonCall(), OPEN, False
        return bool(rest)

    def _read_call(self, call: JsonCall, found: list[Part]) -> bool:
        size = call.feed(self._held)
        self._written += self._held[:size]
        self._held = self._held[size:]
        if call.name is not None and call.state is not State.BROKEN:
            self._tell(call, found)
        if call.state is State.BROKEN:
            self._break_off(found)
        elif call.state is State.DONE:
            self._calls += 1
            self._call, self._closing = None, True
        return bool(self._held) and call.state is not State.OPEN

    def _tell(self, call: JsonCall, found: list[Part]) -> None:
        fresh = call.take()
        if not fresh and call.state is State.OPEN:
            return
        if not self._begun:
            self._begun = True
            found.append(ToolCall(self._calls, fresh or "{}", new_call_id(), call.name))
        elif fresh:
            found.append(ToolCall(self._calls, fresh))

    def _break_off(self, found: list[Part]) -> None:
        """It is no call: what has not been told of it is text."""
        if self._begun:
            self._calls += 1
        else:
            _add(found, self._written)
        self._call = None

    def _close(self) -> bool:
        """Pass over the closing mark, which some models leave out."""
        rest = self._held.lstrip()
        if len(rest) < len(CLOSE) and CLOSE.startswith(rest):
            return False
        self._closing = False
        if rest.startswith(CLOSE):
            self._held = rest[len(CLOSE) :]
        return bool(self._held)

    def flush(self) -> Sequence[Part]:
        found: list[Part] = []
        if self._call is not None:
            self._break_off(found)
        if not self._closing or self._held.strip():
            _add(found, self._held)
        self._held, self._closing = "", False
        return found


def _add(found: list[Part], text: str) -> None:
    if text:
        found.append(Text(text))


PARSER = HermesParser
