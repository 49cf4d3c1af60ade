"""A text that comes in pieces, read in its own order: a parser is one generator, which waits where
it needs more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, TypeVar

from openllm.answer.text import Beginnings
from openllm.types import Part, Text

T = TypeVar("T")
Wait = Generator[None, None, T]  # reads, stops wherever more text is needed, and returns a T
Tell = Callable[[str], object]  # what is done with a piece of text that is certain

SPACE = " \t\r\n"


class Phrases:
    """Several marks that are looked for; none is a part of another, so that what is found does not
    depend on how the text is cut.
    """

    __slots__ = ("_beginnings", "_pattern", "_words", "letters")

    def __init__(self, *words: str) -> None:
        inside = [(a, b) for a in words for b in words if a != b and a in b]
        if inside:
            raise ValueError(f"{inside[0][0]!r} is a part of {inside[0][1]!r}")
        self._words = words
        self._pattern = re.compile("|".join(map(re.escape, words)) or r"(?!)")  # or never
        self._beginnings = Beginnings(words)
        self.letters = self._beginnings.letters

    def __or__(self, other: Phrases) -> Phrases:
        return Phrases(*self._words, *other._words)

    def search(self, text: str) -> re.Match[str] | None:
        """The first of them in `text`."""
        return self._pattern.search(text)

    def match(self, text: str) -> str:
        """The one that `text` begins with; "" for none."""
        found = self._pattern.match(text)
        return found.group() if found else ""

    def at_end(self, text: str) -> int:
        """How much of the end of `text` may become one of them."""
        return self._beginnings.at_end(text)

    def end(self, text: str) -> bool:
        """Whether `text` ends with one of them."""
        return text.endswith(self._words)

    def begun_by(self, text: str) -> bool:
        """Whether `text`, which may be empty, is the beginning of one of them."""
        return any(word.startswith(text) for word in self._words)


class Reader:
    """Base of the parsers (see `openllm.answer.parts.Parser`); a subclass writes `read`.

    `held` is what has come and is not read. `read` takes from it, tells parts, and waits with
    `more`; it must come to its end once there is no more.
    """

    markers: ClassVar[Sequence[str]] = ()
    thinking = False
    # While text without these letters is nothing but the answer's, and need not be fed; None: it
    # must be.
    stirred_by: frozenset[str] | None = None
    keeping = False  # what is read must go through `take`

    def __init__(self) -> None:
        self.held = ""
        self._ended = False
        self._found: list[Part] = []
        # While `read` waits for one of a few letters: those, and what is done with all else.
        self._waiting: tuple[frozenset[str], Tell] | None = None
        self._course = self.read()

    def read(self) -> Wait[None]:
        """The whole text, from its beginning to its end."""
        raise NotImplementedError

    def feed(self, text: str) -> Sequence[Part]:
        self._found = []
        if self._waiting is not None:
            letters, tell = self._waiting
            if letters.isdisjoint(text):  # as most tokens are: `read` need not look at it
                if text:
                    tell(text)
                return self._found
            self._waiting = self.stirred_by = None
        self.held += text
        next(self._course)
        return self._found

    def flush(self) -> Sequence[Part]:
        self._ended = True
        self._found = []
        next(self._course, None)
        return self._found

    # What `read` is made of.

    def tell(self, part: Part) -> None:
        self._found.append(part)

    def tell_text(self, text: str) -> None:
        if text:
            self._found.append(Text(text))

    def more(self) -> Wait[bool]:
        """Wait for more text; False at once where none will come."""
        if self._ended:
            return False
        yield
        return True

    def some(self) -> Wait[bool]:
        """Whether the text goes on."""
        while not self.held:
            if not (yield from self.more()):
                return False
        return True

    def take(self, size: int) -> str:
        """Read the next `size` characters."""
        taken, self.held = self.held[:size], self.held[size:]
        return taken

    def until(self, words: Phrases, tell: Tell, unread: bool = False) -> Wait[str]:
        """Tell what comes before the first of `words`, and read that, too, if it is not to be left
        `unread`; "" where none came.
        """
        while True:
            held = self.held
            found = words.search(held)
            if found is not None:
                if found.start():
                    tell(held[: found.start()])
                self.take(found.start() if unread else found.end())
                return found.group()
            size = len(held) - (0 if self._ended else words.at_end(held))
            if size:
                tell(self.take(size))
            if self._ended:
                return ""
            self.wait_for(words.letters, tell)
            yield

    def wait_for(self, letters: frozenset[str], tell: Tell) -> None:
        """While none of `letters` comes, `tell` is what `read` would do with a text that comes now;
        it is about to wait.
        """
        if not self.held and not self.keeping:
            self._waiting = letters, tell
            self.stirred_by = letters if tell == self.tell_text else None

    def text_until(self, words: Phrases) -> Wait[str]:
        """`until`, what comes before being text."""
        return (yield from self.until(words, self.tell_text))

    def word(self, words: Phrases, after: str = SPACE) -> Wait[str]:
        """Read one of `words`, and characters of `after` before it; "" where the text goes on
        otherwise, and then nothing is read.
        """
        while True:
            start = self.held.lstrip(after)
            if found := words.match(start):
                self.take(len(self.held) - len(start) + len(found))
                return found
            if not words.begun_by(start) or not (yield from self.more()):
                return ""

    def skip(self, letters: str = SPACE) -> Wait[str]:
        """Read over `letters`; the next character, which stays unread, or "" at the end."""
        while True:
            rest = self.held.lstrip(letters)
            self.take(len(self.held) - len(rest))
            if rest:
                return rest[0]
            if not (yield from self.more()):
                return ""
