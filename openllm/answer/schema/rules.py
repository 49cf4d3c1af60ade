"""The rules of one schema's grammar while they are written, within a bound of size."""

from __future__ import annotations

from openllm.answer.schema.document import TooLarge

MOST_CHARACTERS = 1024 * 1024


class RuleSet:
    """Rules by name; what is written twice is one rule."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._size = 0
        self._count = 0

    def name(self) -> str:
        """A name that no rule has yet; it must be defined."""
        self._count += 1
        return f"r{self._count}"

    def define(self, name: str, body: str) -> None:
        """Errors: TooLarge."""
        self._size += len(name) + len(body) + 6
        if self._size > MOST_CHARACTERS:
            raise TooLarge(f"its grammar has more than {MOST_CHARACTERS} characters")
        self._bodies[name] = body

    def add(self, body: str) -> str:
        """The name of a rule with that right side. Errors: TooLarge."""
        if body not in self._names:
            name = self._names[body] = self.name()
            self.define(name, body)
        return self._names[body]

    def share(self, name: str, body: str) -> str:
        """A rule of that name, the same in every grammar that has it."""
        if name not in self._bodies:
            self.define(name, body)
        return name

    def text(self, root: str) -> str:
        """The grammar of what the expression `root` allows."""
        rules = {"root": root, **self._bodies}
        return "".join(f"{name} ::= {body}\n" for name, body in rules.items())
