"""The parts of an answer (text, reasoning, calls, a refusal), and what finds them in a text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Protocol

from openllm.types import Part, Text, ToolCall


class Parser(Protocol):
    """Reads one choice's text as it comes, in one format.

    However the text is cut, the joined parts are the same, and no character is lost or doubled:
    what turns out to be no call, or no thought, comes as text.

    """

    @property
    def markers(self) -> Sequence[str]:
        """The texts that it looks for. Where one is a special token, the parser sees it, though
        the answer's text never shows it.
        """

    @property
    def thinking(self) -> bool:
        """Whether what comes next is of a thought."""

    def feed(self, text: str) -> Sequence[Part]:
        """The parts that are certain now."""

    def flush(self) -> Sequence[Part]:
        """What was held back, at the end of the text."""


def text_of(parts: Iterable[Part]) -> str:
    """The answer's text alone."""
    return "".join([part.text for part in parts if isinstance(part, Text)])


def together(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same parts, neighbours of one kind (and of one call) joined."""
    found: list[Part] = []
    for part in parts:
        if found and (joined := _join(found[-1], part)) is not None:
            found[-1] = joined
        else:
            found.append(part)
    return tuple(found)


def _join(first: Part, second: Part) -> Part | None:
    if isinstance(first, ToolCall):
        if not isinstance(second, ToolCall) or first.index != second.index:
            return None
        return ToolCall(first.index, first.arguments + second.arguments, first.id, first.name)
    if isinstance(second, ToolCall) or type(first) is not type(second):
        return None
    return type(first)(first.text + second.text)


def new_call_id() -> str:
    """What a client refers to a call by; it opens nothing, so it need not be hard to guess."""
    return f"call_{random.getrandbits(96):024x}"
