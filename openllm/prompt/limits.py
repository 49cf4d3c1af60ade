"""What an untrusted template may spend: its clock, and the weight (characters plus elements) of
what it builds.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from jinja2 import TemplateError
from jinja2.utils import Namespace

_CREDIT = 100  # microseconds, roughly, between two looks at the clock
_CHARACTERS = 1024  # that an operation handles in a microsecond, roughly
_LONGEST_NUMBER = 4096  # bits
_MOST_PIECES = 2**20  # of a split text
_DEEPEST = 100  # levels of nesting
_WIDEST = 10_000  # characters of one formatted number
_WIDE = re.compile(
    r"\d{5,}|%[^a-zA-Z%*]*\*|\{[^{}:]*:[^{}]*\{"
)  # a field that is wide, or whose width is computed
_CONTAINERS = (list, tuple, dict, set, frozenset, Mapping)


class TemplateLimit(TemplateError):
    """The template took too long or built too much."""


@attrs.frozen
class Limits:
    """What one rendering may take."""

    seconds: float = 2.0  # of the rendering thread's CPU time
    weight: int = 16 * 2**20  # of any one value: characters plus elements


class _Clock(threading.local):
    """Of one thread. Reading the time costs more than a step of a template, so it is read when
    `credit` is spent.
    """

    deadline = 0.0
    credit = 0


class Budget:
    """Holds every rendering to `limits`; each rendering has the clock of its own thread. Errors:
    TemplateLimit.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._clock = _Clock()

    def start(self) -> None:
        """A rendering begins on this thread."""
        self._clock.deadline = time.thread_time() + self.limits.seconds

    def tick(self, cost: int = 1) -> None:
        """One step, of roughly `cost` microseconds."""
        clock = self._clock
        clock.credit -= cost
        if clock.credit < 0:
            clock.credit = _CREDIT
            if time.thread_time() > clock.deadline:
                raise TemplateLimit("it takes too long")

    def weigh(self, value: object) -> int:
        """Characters plus elements of `value`, nested ones included; too heavy or too deep is
        refused.
        """
        if isinstance(value, str):
            self.check(len(value))
            self.tick(len(value) // _CHARACTERS)
            return len(value)
        if not isinstance(value, _CONTAINERS):
            return 1
        weight = elements = depth = 0
        level: list[object] = [value]
        while level:
            below: list[object] = []
            for item in level:
                if isinstance(item, str):
                    weight += len(item)
                elif isinstance(item, Mapping):
                    below += (*item.keys(), *item.values())
                elif isinstance(item, _CONTAINERS):
                    below += item
                elif depth and isinstance(item, Namespace):
                    raise TemplateLimit("it puts a namespace into a value")
                self.check(weight + len(below))
            weight += len(level)
            elements += len(level)
            depth += 1
            level = below
            if depth > _DEEPEST:
                raise TemplateLimit("it nests values too deeply")
        self.check(weight)
        self.tick(weight // _CHARACTERS + elements)
        return weight

    def weighed(self, value: Any) -> Any:
        """`value` itself; an iterator is drained and comes back as a fresh one (still true, still
        read once).
        """
        if isinstance(value, Iterator):
            items = list(self.counted(value))
            self.weigh(items)
            return iter(items)
        self.weigh(value)
        return value

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for number, value in enumerate(values):
            self.tick()
            self.check(number)
            yield value

    def concat(self, parts: Iterable[str]) -> str:
        total, kept = 0, []
        for part in parts:
            self.tick()
            total += len(part)
            self.check(total)
            kept.append(part)
        return "".join(kept)

    def check(self, weight: int) -> None:
        if weight > self.limits.weight:
            raise TemplateLimit("it builds too large a value")

    # Asked before an operation, because its result may be too large to make
    # -----------------------------------------

    def check_replace(self, text: str, old: str, new: str) -> None:
        self.check(len(text) + (text.count(old) + 1) * len(new))

    def check_format(self, text: str, args: object) -> None:
        if _WIDE.search(text):
            raise TemplateLimit("it formats with too wide a field")
        if fields := text.count("%") + text.count("{"):
            self.check(len(text) + fields * (self.weigh(args) + _WIDEST))

    def check_product(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        elif isinstance(left, int) or isinstance(right, int):
            count, value = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(value, str | list | tuple):
                self.check(self.weigh(value) * count)

    def check_power(self, left: Any, right: Any) -> None:
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * right)

    def check_split(self, text: str, args: tuple[Any, ...]) -> None:
        separator = args[0] if args and isinstance(args[0], str) else ""
        if (
            len(text) > _MOST_PIECES
            and (text.count(separator) if separator else len(text)) > _MOST_PIECES
        ):
            raise TemplateLimit("it splits a text into too many pieces")


def _check_bits(bits: int) -> None:
    if bits > _LONGEST_NUMBER:
        raise TemplateLimit("it computes too large a number")
