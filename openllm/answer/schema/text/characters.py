"""Sets of characters: sorted intervals of code points, without the halves of surrogate pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Interval = tuple[int, int]  # both ends belong to it

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_SHORT = {0x22: '"', 0x5C: "\\", 8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}
_CONTROLS = 0x20  # below it a JSON string has escapes only


class Characters:
    """A set of characters, equal to another one of the same characters."""

    __slots__ = ("intervals",)

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self.intervals = tuple(_joined(_without_surrogates(intervals)))

    def __contains__(self, letter: str) -> bool:
        code = ord(letter)
        return any(low <= code <= high for low, high in self.intervals)

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Characters) and self.intervals == other.intervals

    def __hash__(self) -> int:
        return hash(self.intervals)

    def __or__(self, other: Characters) -> Characters:
        return Characters((*self.intervals, *other.intervals))

    def __and__(self, other: Characters) -> Characters:
        return ~(~self | ~other)

    def __sub__(self, other: Characters) -> Characters:
        return self & ~other

    def __invert__(self) -> Characters:
        gaps, at = [], 0
        for low, high in self.intervals:
            gaps.append((at, low - 1))
            at = high + 1
        return Characters((*gaps, (at, _LAST)))

    def bare(self) -> str:
        """The grammar of one of these characters as it is."""
        return f"[{''.join(map(_range, self.intervals))}]"

    def expression(self) -> str:
        """The grammar of one of these characters within a JSON string."""
        plain = self & _PLAIN
        options = [f"[{''.join(map(_range, plain.intervals))}]"] if plain else []
        escaped = [code for low, high in (self - _PLAIN).intervals for code in range(low, high + 1)]
        short = [_range((ord(_SHORT[code]),) * 2) for code in escaped if code in _SHORT]
        if short:
            options.append(f'"\\\\" [{"".join(short)}]')
        long = [code for code in escaped if code not in _SHORT]
        for tens in sorted({code >> 4 for code in long}):
            digits = "".join(_digit(code & 15) for code in long if code >> 4 == tens)
            options.append(f'"\\\\u00{tens}" [{digits}]')
        return options[0] if len(options) == 1 else f"({' | '.join(options)})"


def one(letter: str) -> Characters:
    """The set of one character."""
    return Characters([(ord(letter), ord(letter))])


def _digit(value: int) -> str:
    lower = f"{value:x}"
    return lower if lower.isdigit() else lower + lower.upper()


def _range(interval: Interval) -> str:
    low, high = map(_written, interval)
    return low if low == high else f"{low}-{high}"


def _written(code: int) -> str:
    """A character inside a class of the grammar."""
    if code < 0x80 and chr(code).isalnum():
        return chr(code)
    # not \x: xgrammar takes all hexadecimal digits that follow that
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _without_surrogates(intervals: Iterable[Interval]) -> Iterator[Interval]:
    first, last = _SURROGATES
    for low, high in intervals:
        yield low, min(high, first - 1)
        yield max(low, last + 1), high


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Sorted, not empty, not touching each other."""
    found: list[Interval] = []
    for low, high in sorted(interval for interval in intervals if interval[0] <= interval[1]):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


ANY = Characters([(0, _LAST)])
LINE_ENDS = Characters([(10, 10), (13, 13), (0x2028, 0x2029)])
DIGITS = Characters([(48, 57)])
WORD = Characters([(48, 57), (65, 90), (95, 95), (97, 122)])
SPACES = Characters(
    (
        *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
        *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
    )
)
# Python's `re` and ECMA-262 do not agree about these: they are neither space nor no space.
UNSURE_SPACES = Characters([(0x1C, 0x1F), (0x85, 0x85), (0xFEFF, 0xFEFF)])
_PLAIN = ANY - Characters([(0, _CONTROLS - 1), (0x22, 0x22), (0x5C, 0x5C)])
