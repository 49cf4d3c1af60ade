"""Regular expressions as JSON schemas have them: ECMA-262's, read to a tree of what they match.

What a grammar cannot follow is refused with its position: look-around, references to groups, word
borders, properties of characters, and ^ and $ but where an alternative begins or ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn

import attrs

from openllm.answer.schema.text.characters import (
    ANY,
    DIGITS,
    LINE_ENDS,
    SPACES,
    UNSURE_SPACES,
    WORD,
    Characters,
    one,
)

DEEPEST = 40  # groups within each other
MOST_REPEATS = 10_000
LONGEST = 8192  # characters
_SETS = {
    "d": DIGITS,
    "D": ~DIGITS,
    "w": WORD,
    "W": ~WORD,
    "s": SPACES,
    "S": ~(SPACES | UNSURE_SPACES),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "v": "\v", "f": "\f", "0": "\0"}
_IN_SETS = {"b": "\b", "-": "-"}
_UNFOLLOWED = {
    "k": "a reference to a group",
    **dict.fromkeys("bB", "a word border"),
    **dict.fromkeys("pP", "a property of characters"),
}
_COUNTS = re.compile(r"\{(\d{1,9})(,)?(\d{1,9})?\}")
_HEX = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}")
_LOW_HALF = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_GROUP = re.compile(r"\?:|\?<[A-Za-z_]\w*>|\?P<[A-Za-z_]\w*>")
_LOOKS = ("?=", "?!", "?<=", "?<!")


class PatternError(ValueError):
    """A regular expression that cannot be followed, and why."""


@attrs.frozen
class One:
    """One character of a set."""

    of: Characters


@attrs.frozen
class Chain:
    """Several after each other; none: the empty text."""

    parts: tuple[Tree, ...]


@attrs.frozen
class Alternation:
    """One of several."""

    options: tuple[Tree, ...]


@attrs.frozen
class Repeat:
    """The same, so often; `most` None: any number of times."""

    part: Tree
    least: int
    most: int | None


@attrs.frozen
class Border:
    """The beginning of the text, or its end."""

    start: bool
    position: int


Tree = One | Chain | Alternation | Repeat | Border
EMPTY = Chain(())


@lru_cache(maxsize=512)
def whole(pattern: str) -> Tree:
    """What whole texts the pattern is found in, as a tree without borders. Errors: PatternError."""
    if len(pattern) > LONGEST:
        raise PatternError(f"has {len(pattern)} characters, at most {LONGEST} are read")
    options = []
    for parts in _alternatives(_Reader(pattern).read()):
        starts = bool(parts) and isinstance(parts[0], Border) and parts[0].start
        ends = bool(parts) and isinstance(parts[-1], Border) and not parts[-1].start
        inner = [part for part in parts if not isinstance(part, Border)]
        before = () if starts else (Repeat(One(ANY), 0, None),)
        after = () if ends else (Repeat(One(ANY), 0, None),)
        options.append(chain((*before, *inner, *after)))
    return choice(options)


def chain(parts: Sequence[Tree]) -> Tree:
    """Several after each other, chains within it laid open."""
    flat: list[Tree] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Chain) else (part,))
    return flat[0] if len(flat) == 1 else Chain(tuple(flat))


def choice(options: Sequence[Tree]) -> Tree:
    """One of several; sets of characters among them become one."""
    sets = [option.of for option in options if isinstance(option, One)]
    if len(sets) == len(options):
        return One(Characters(pair for found in sets for pair in found.intervals))
    return options[0] if len(options) == 1 else Alternation(tuple(dict.fromkeys(options)))


def lengths(tree: Tree) -> tuple[int, int | None]:
    """The fewest and the most characters that it matches; None: no bound."""
    if isinstance(tree, One):
        return 1, 1
    if isinstance(tree, Repeat):
        least, most = lengths(tree.part)
        bounded = most == 0 or (most is not None and tree.most is not None)
        return least * tree.least, (most or 0) * (tree.most or 0) if bounded else None
    if isinstance(tree, Border):
        return 0, 0
    inner = [lengths(part) for part in (tree.parts if isinstance(tree, Chain) else tree.options)]
    leasts, mosts = [pair[0] for pair in inner], [pair[1] for pair in inner]
    known = [most for most in mosts if most is not None]
    if isinstance(tree, Chain):
        return sum(leasts), sum(known) if len(known) == len(mosts) else None
    return min(leasts), max(known) if len(known) == len(mosts) else None


def at_most(tree: Tree, most: int) -> Tree | None:
    """A tree of some texts of the same kind, none of them longer: what may be repeated without end
    may be so equally often. None: there are none.
    """
    often, step = 0, 1 << most.bit_length()
    while step:
        longest = lengths(_limited(tree, often + step))[1]
        often += step if longest is not None and longest <= most else 0
        step >>= 1
    found = _limited(tree, often)
    longest = lengths(found)[1]
    return found if longest is not None and longest <= most else None


def _limited(tree: Tree, often: int) -> Tree:
    if isinstance(tree, Chain):
        return Chain(tuple(_limited(part, often) for part in tree.parts))
    if isinstance(tree, Alternation):
        return Alternation(tuple(_limited(option, often) for option in tree.options))
    if isinstance(tree, Repeat):
        most = max(tree.least, often) if tree.most is None else tree.most
        return Repeat(_limited(tree.part, often), tree.least, most)
    return tree


def _alternatives(tree: Tree) -> list[list[Tree]]:
    """The tree as chains whose borders stand at their ends. Errors: PatternError for others."""
    found = [[tree]]
    while True:
        opened = [chain for parts in found for chain in _opened(parts)]
        if len(opened) > 256:
            raise PatternError("has too many alternatives with ^ or $ in them")
        if opened == found:
            break
        found = opened
    for parts in found:
        for at, part in enumerate(parts):
            _no_borders(part, free=at in (0, len(parts) - 1))
    return [_tidy(parts) for parts in found]


def _opened(parts: list[Tree]) -> list[list[Tree]]:
    """What stands first and last, taken apart as far as borders are in it."""
    for at in {0, len(parts) - 1} if parts else ():
        part = parts[at]
        if isinstance(part, Chain):
            return [[*parts[:at], *part.parts, *parts[at + 1 :]]]
        if isinstance(part, Alternation) and _has_border(part):
            return [[*parts[:at], option, *parts[at + 1 :]] for option in part.options]
    return [parts]


def _tidy(parts: list[Tree]) -> list[Tree]:
    for at, part in enumerate(parts):
        if isinstance(part, Border) and part.start != (at == 0) and len(parts) > 1:
            _bad_border(part)
    return parts


def _has_border(tree: Tree) -> bool:
    if isinstance(tree, Chain | Alternation):
        return any(map(_has_border, tree.parts if isinstance(tree, Chain) else tree.options))
    return isinstance(tree, Border) or (isinstance(tree, Repeat) and _has_border(tree.part))


def _no_borders(tree: Tree, *, free: bool) -> None:
    if isinstance(tree, Border):
        if not free:
            _bad_border(tree)
    elif isinstance(tree, Repeat):
        _no_borders(tree.part, free=False)
    elif isinstance(tree, Chain | Alternation):
        for part in tree.parts if isinstance(tree, Chain) else tree.options:
            _no_borders(part, free=False)


def _bad_border(border: Border) -> NoReturn:
    sign = "^" if border.start else "$"
    raise PatternError(f"has {sign} at position {border.position}, inside of what it matches")


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0

    def read(self) -> Tree:
        tree = self._choice()
        if self._at < len(self._text):
            self._refuse("an unmatched )")
        return tree

    def _refuse(self, what: str, at: int | None = None) -> NoReturn:
        position = self._at if at is None else at
        raise PatternError(f"has {what} at position {position}")

    def _next(self) -> str:
        """The next character; empty at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        letter = self._next()
        if not letter:
            self._refuse("an end that comes too early")
        self._at += 1
        return letter

    def _choice(self) -> Tree:
        options = [self._chain()]
        while self._next() == "|":
            self._at += 1
            options.append(self._chain())
        return choice(options)

    def _chain(self) -> Tree:
        parts: list[Tree] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._counted(self._atom()))
        return chain(parts) if parts else EMPTY

    def _counted(self, atom: Tree) -> Tree:
        start = self._at
        sign = self._next()
        counts = _COUNTS.match(self._text, self._at)
        if sign in ("*", "+", "?") and sign:
            self._at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        elif counts:
            self._at = counts.end()
            least = int(counts[1])
            bound = counts[3] if counts[2] else counts[1]
            most = None if bound is None else int(bound)
        else:
            return atom
        if max(least, most or 0) > MOST_REPEATS:
            self._refuse(f"a count beyond {MOST_REPEATS}", start)
        if most is not None and most < least:
            self._refuse("a count that ends before it begins", start)
        if isinstance(atom, Border):
            self._refuse("a count of nothing", start)
        if self._next() == "?":  # as few as possible: of what is matched that makes no difference
            self._at += 1
        if self._next() in ("*", "+") or _COUNTS.match(self._text, self._at):
            self._refuse("a count after a count")
        return Repeat(atom, least, most)

    def _atom(self) -> Tree:
        start, letter = self._at, self._take()
        if letter == "(":
            return self._group(start)
        if letter == "[":
            return One(self._set(start))
        if letter == ".":
            return One(~LINE_ENDS)
        if letter in "^$":
            return Border(letter == "^", start)
        if letter == "\\":
            return One(self._escaped(start))
        if letter in "*+?" or (letter == "{" and _COUNTS.match(self._text, start)):
            self._refuse("nothing to repeat", start)
        if letter == "{" and self._next() == ",":
            self._refuse("a count without a beginning", start)
        return One(self._plain(letter, start))

    def _plain(self, letter: str, start: int) -> Characters:
        if 0xD800 <= ord(letter) <= 0xDFFF:
            self._refuse("half a surrogate", start)
        return one(letter)

    def _group(self, start: int) -> Tree:
        if self._text.startswith(_LOOKS, self._at):
            self._refuse("a look-around", start)
        opening = _GROUP.match(self._text, self._at)
        if opening:
            self._at = opening.end()
        elif self._next() == "?":
            self._refuse("a group of an unknown kind", start)
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(f"more than {DEEPEST} groups within each other", start)
        tree = self._choice()
        self._depth -= 1
        if self._next() != ")":
            self._refuse("a group without an end", start)
        self._at += 1
        return tree

    def _escaped(self, start: int, *, in_set: bool = False) -> Characters:
        number = _HEX.match(self._text, self._at)
        if number:
            self._at = number.end()
            return self._by_number(int(number[1] or number[2] or number[3], 16), start)
        letter = self._take()
        if letter in _SETS:
            return _SETS[letter]
        if in_set and letter in _IN_SETS:
            return one(_IN_SETS[letter])
        if letter in _CONTROLS and not (letter == "0" and self._next().isdigit()):
            return one(_CONTROLS[letter])
        if letter == "c" and self._next().isalpha() and self._next().isascii():
            return one(chr(ord(self._take()) % 32))
        if letter.isdigit():
            self._refuse("a reference to a group", start)
        if letter.isalnum():
            self._refuse(_UNFOLLOWED.get(letter, f"the unknown escape \\{letter}"), start)
        return self._plain(letter, start)

    def _by_number(self, code: int, start: int) -> Characters:
        low = _LOW_HALF.match(self._text, self._at)
        if 0xD800 <= code < 0xDC00 and low:
            self._at = low.end()
            code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if code > 0x10FFFF:
            self._refuse("a character that there is not", start)
        return self._plain(chr(code), start)

    def _set(self, start: int) -> Characters:
        negated = self._next() == "^"
        self._at += negated
        found = Characters()
        while self._next() != "]":
            if not self._next():
                self._refuse("a set without an end", start)
            found |= self._members()
        self._at += 1
        found = ~found if negated else found
        if not found:
            self._refuse("a set of no characters", start)
        return found

    def _members(self) -> Characters:
        """One member of a set, or a range of them."""
        start = self._at
        low = self._member()
        if self._next() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return low
        self._at += 1
        high = self._member()
        ends = [found.intervals for found in (low, high)]
        if any(len(pairs) != 1 or pairs[0][0] != pairs[0][1] for pairs in ends):
            self._refuse("a range whose ends are no characters", start)
        if ends[0][0][0] > ends[1][0][0]:
            self._refuse("a range that ends before it begins", start)
        return Characters([(ends[0][0][0], ends[1][0][0])])

    def _member(self) -> Characters:
        start, letter = self._at, self._take()
        if letter == "\\":
            return self._escaped(start, in_set=True)
        return self._plain(letter, start)
