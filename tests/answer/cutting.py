"""A parser of an answer's text, fed in all kinds of pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from hypothesis import strategies as st

from openllm.answer.formats import reasoning_format, tool_format
from openllm.answer.parts import Parser, together
from openllm.types import Part, ToolCall

Told = tuple[str, ...]
Make = Callable[[], Parser]
CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=40)


def told(make: Make, text: str, cuts: Iterable[int] = ()) -> list[Told]:
    """What a parser makes of `text`, cut at `cuts`; the ids of calls are left out."""
    return [shown(part) for part in parts_of(make, text, cuts)]


def parts_of(make: Make, text: str, cuts: Iterable[int] = ()) -> tuple[Part, ...]:
    """What a parser makes of `text`, cut at `cuts`; neighbours of one kind are joined."""
    parser, found, begin = make(), [], 0
    for end in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        found += parser.feed(text[begin:end])
        begin = end
    return together([*found, *parser.flush()])


def shown(part: Part) -> Told:
    """A part as a tuple that is easy to write down."""
    if isinstance(part, ToolCall):
        assert part.id
        assert part.name
        return ("call", part.name, part.arguments)
    return (type(part).__name__.lower(), part.text)


def check_at_all_cuts(make: Make, text: str, expected: list[Told]) -> None:
    """The parser finds `expected`, whole, in two pieces cut anywhere, and letter by letter."""
    assert told(make, text) == expected
    assert told(make, text, range(len(text))) == expected
    for cut in range(1, len(text)):
        assert told(make, text, [cut]) == expected, f"cut before {text[cut:]!r}"


def tools(name: str, schemas: Mapping[str, Mapping[str, Any]] | None = None) -> Make:
    """What makes a parser of calls in the format called so, for tools with these schemas."""
    return partial(tool_format(name).parser, "", schemas or {})


def reasoning(name: str, prompt_end: str = "") -> Make:
    """What makes a parser of thoughts in the format called so."""
    return partial(reasoning_format(name).parser, prompt_end)
