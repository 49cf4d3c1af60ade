"""`<think>...</think>` before the answer (DeepSeek R1, Qwen 3 and many others).

Some templates write the opening mark into the prompt, so that the answer begins inside the thought;
then only the closing mark is seen. A model that closes no thought has thought all the way; one that
opens none has not thought.
"""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.text import Beginnings
from openllm.types import Part, Reasoning, Text

OPEN, CLOSE = "<think>", "</think>"
_OPENS, _CLOSES = Beginnings([OPEN]), Beginnings([CLOSE])


class ThinkParser:
    """The thought at the beginning of one answer; everything after it is text."""

    def __init__(self, prompt_end: str = "") -> None:
        self._inside = prompt_end.rstrip().endswith(OPEN)
        self._answering = False
        self._held = ""
        self._clean = False  # something of this thought or answer has been told

    def feed(self, text: str) -> Sequence[Part]:
        if self._answering:
            return self._told(text, Text)
        self._held += text
        if not self._inside and not self._entered():
            return ()
        if not self._inside:
            return self._answer()
        thought, mark, answer = self._held.partition(CLOSE)
        if mark:
            self._held = answer
            ended = self._told(thought.rstrip("\n"), Reasoning)
            return [*ended, *self._answer()]
        # line ends before the closing mark are not of the thought
        keep = _CLOSES.at_end(thought)
        keep = len(thought) - len(thought[: len(thought) - keep].rstrip("\n"))
        self._held = thought[len(thought) - keep :]
        return self._told(thought[: len(thought) - keep], Reasoning)

    def _entered(self) -> bool:
        """Whether it is decided if there is a thought; `_inside` says which."""
        start = self._held.lstrip()
        if start.startswith(OPEN):
            self._inside = True
            self._held = start[len(OPEN) :]
            return True
        return bool(start) and _OPENS.at_end(start) != len(start)

    def _answer(self) -> Sequence[Part]:
        self._answering, self._clean = True, not self._inside
        text, self._held = self._held, ""
        return self._told(text, Text)

    def _told(self, text: str, kind: type[Text] | type[Reasoning]) -> Sequence[Part]:
        """`text`, without the line ends that follow a mark."""
        if not self._clean:
            text = text.lstrip("\n")
            self._clean = bool(text)
        return (kind(text),) if text else ()

    def flush(self) -> Sequence[Part]:
        text, self._held = self._held, ""
        if not text:
            return ()
        return self._told(text, Reasoning if self._inside and not self._answering else Text)


PARSER = ThinkParser
