"""gpt-oss's format, harmony: an answer is several messages, each in a channel, perhaps to somebody.

`<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...`: what is
in `analysis` is thought, what goes to a function is a call, all else is text.
"""

from __future__ import annotations

import re

from openllm.answer.calls import NO_TOOLS, CallReader, Tools
from openllm.answer.reader import Phrases, Wait
from openllm.types import Reasoning

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
END, CALL, RETURN, CONSTRAIN = "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"
MARKERS = (START, CHANNEL, MESSAGE, END, CALL, RETURN, CONSTRAIN)

_MESSAGE = Phrases(MESSAGE)
_FIRST = Phrases(CHANNEL, " to=")
_OUTSIDE = Phrases(START, CHANNEL, END, CALL, RETURN)
_HEADER_END = Phrases(MESSAGE, START, END, CALL, RETURN)
_BODY_END = Phrases(START, END, CALL, RETURN)
_RECEIVER = re.compile(r"\bto=(?P<function>functions\.)?(?P<name>[^\s<]+)")
_THOUGHT = f"{CHANNEL}analysis"


class HarmonyReader(CallReader):
    """The prompt ends where the header of a message is due, or where its body begins."""

    markers = MARKERS

    def __init__(self, prompt_end: str = "", tools: Tools = NO_TOOLS) -> None:
        super().__init__(prompt_end, tools)
        self._header = begun_header(prompt_end)
        self.thinking = _THOUGHT in self._header

    def read(self) -> Wait[None]:
        if self._header:
            yield from self._body()
        elif mark := (yield from self.word(_FIRST, "")):
            yield from self._message(mark)
        while mark := (yield from self.text_until(_OUTSIDE)):
            if mark in (START, CHANNEL):
                yield from self._message(mark)

    def _message(self, mark: str) -> Wait[None]:
        """Read a message whose header begins with `mark`."""
        if (yield from self.attempt(self._read_header(mark), mark)):
            yield from self._body()

    def _read_header(self, mark: str) -> Wait[None]:
        pieces = [mark]
        yield from self.until(_HEADER_END, pieces.append, unread=True)
        yield from self.demand(_MESSAGE, "")
        self._header = "".join(pieces)

    def _body(self) -> Wait[None]:
        receiver = _RECEIVER.search(self._header)
        if receiver and (receiver["function"] or receiver["name"] in self.tools):
            self.begin(receiver["name"])
            yield from self.until(_BODY_END, self.argue, unread=True)
            self.finish()
        elif _THOUGHT in self._header:
            self.thinking = True
            yield from self.until(_BODY_END, self._think, unread=True)
            self.thinking = False
        else:
            yield from self.until(_BODY_END, self.tell_text, unread=True)

    def _think(self, text: str) -> None:
        self.tell(Reasoning(text))


def begun_header(prompt_end: str) -> str:
    """The header of the message that the prompt has begun; "" for none."""
    header = prompt_end.removesuffix(MESSAGE)
    return "" if header == prompt_end else header[max(header.rfind(CHANNEL), 0) :]
