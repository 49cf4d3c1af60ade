"""A parser of an answer's text, fed in all kinds of pieces."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from openllm.answer.parts import Parser, together
from openllm.types import Part, ToolCall

Told = tuple[str, ...]
CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=40)


def told(make: Callable[[], Parser], text: str, cuts: list[int] = []) -> list[Told]:  # noqa: B006
    """What a parser makes of `text`, cut at `cuts`; the ids of calls are left out."""
    parser, found, begin = make(), [], 0
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        found += parser.feed(text[begin:end])
        begin = end
    return [shown(part) for part in together([*found, *parser.flush()])]


def shown(part: Part) -> Told:
    """A part as a tuple that is easy to write down."""
    if isinstance(part, ToolCall):
        assert part.id
        assert part.name
        return ("call", part.name, part.arguments)
    return (type(part).__name__.lower(), part.text)
