"""Grammars that force an answer into a format: expressions of xgrammar's GBNF, and the rules that
they refer to.

An expression is text that may stand on the right of a rule: a literal, a rule's name, several of
them after each other or in brackets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SchemaGrammar = Callable[[str], str]  # a JSON schema as text -> its grammar, with the rule `root`

_ESCAPED = str.maketrans(
    {chr(code): f"\\u{code:04x}" for code in (*range(0x20), 0x7F)}
    | {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)
# what looks like a name in a literal, a character class or a comment is none
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|#[^\n]*|(?P<name>[A-Za-z_][\w.\-]*)(?P<rule>\s*::=)?'
)
_IN_CLASS = {"[": "\\[", "]": "\\]", "\\": "\\\\", "^": "\\^", "-": "\\-"}
_SHARED = "basic_"  # xgrammar's rules for any JSON, which all schemas have alike


def literal(text: str) -> str:
    """`text` and nothing else."""
    return f'"{text.translate(_ESCAPED)}"'


def either(options: Iterable[str]) -> str:
    """One of several expressions."""
    return f"({' | '.join(options)})"


def sequence(*expressions: str) -> str:
    """Expressions after each other."""
    return " ".join(expressions)


def optional(expression: str) -> str:
    return f"({expression})?"


def between_times(least: int, most: int | None) -> str:
    """What stands behind an expression that comes so often; None: any number of times more."""
    return f"{{{least},{'' if most is None else most}}}"


def repeated(each: str, several: bool, between: str = '""') -> str:
    """`each` once; where `several` is said, then any number of times more, with `between`."""
    return f"{each} ({between} {each})*" if several else each


class Rules:
    """The rules of one grammar while it is put together."""

    def __init__(self, schema_grammar: SchemaGrammar) -> None:
        self._schema_grammar = schema_grammar
        self._rules: dict[str, str] = {}
        self._parts = 0

    def define(self, name: str, expression: str) -> str:
        """A rule of that name; to refer to it."""
        self._rules[name] = expression
        return name

    def has(self, name: str) -> bool:
        """Whether there is a rule of that name."""
        return name in self._rules

    def json(self, schema: Mapping[str, Any]) -> str:
        """A JSON value that a schema allows. Errors: those of the compiler of schemas."""
        return self.written(self._schema_grammar(json.dumps(schema)))

    def written(self, grammar: str) -> str:
        """What a grammar allows that has a rule on each line, as those of schemas have."""
        return self._include(_lines_of(grammar))

    def text_before(self, mark: str, least: int = 0, most: int | None = None) -> str:
        """Any text that has no `mark` in it; the mark must follow. A text whose length is bounded
        has not even the mark's first letter in it.
        """
        if least or most is not None:
            return f"[^{_IN_CLASS.get(mark[0], mark[0])}]{between_times(least, most)}"
        name = f"before_{mark.encode().hex()}"
        expression = f"TagDispatch(loop_after_dispatch=false, excludes=({literal(mark)}))"
        return self.define(name, expression)

    def listed(self, items: Sequence[tuple[str, bool]], between: str) -> str:
        """Several expressions in their order with `between`; those without True may be left out."""
        first = after = '""'
        for item, needed in reversed(items):
            self._parts += 1
            then = sequence(item, after)
            first = self.define(f"first{self._parts}", then if needed else either((then, first)))
            then = sequence(between, then)
            after = self.define(f"after{self._parts}", then if needed else either((then, after)))
        return first

    def include(self, grammar: str) -> str:
        """What another grammar, as text, allows."""
        return self._include(_rules_of(grammar))

    def _include(self, rules: Mapping[str, str]) -> str:
        self._parts += 1
        prefix = f"part{self._parts}_"
        shared = {name for name in rules if name.startswith(_SHARED)}
        if any(self._rules.get(name, rules[name]) != rules[name] for name in shared):
            shared = set()
        names = {name: name if name in shared else prefix + name for name in rules}
        for name, body in rules.items():
            self._rules[names[name]] = body if name in shared else _renamed(body, names)
        return prefix + "root"

    def grammar(self, root: str) -> str:
        """The whole as text: what the expression `root` allows."""
        rules = {"root": root, **self._rules}
        return "".join(f"{name} ::= {body}\n" for name, body in rules.items())


def _lines_of(grammar: str) -> dict[str, str]:
    """The same of a grammar that xgrammar has written: one rule a line."""
    rules = (line.partition(" ::= ") for line in grammar.split("\n") if line)
    return {name: body for name, _, body in rules}


def _rules_of(grammar: str) -> dict[str, str]:
    """The right sides of a grammar's rules by their names."""
    heads = [found for found in _TOKEN.finditer(grammar) if found["rule"]]
    ends = [head.start() for head in heads[1:]] + [len(grammar)]
    return {
        head["name"]: grammar[head.end() : end].strip()
        for head, end in zip(heads, ends, strict=True)
    }


def _renamed(body: str, names: Mapping[str, str]) -> str:
    def written(found: re.Match[str]) -> str:
        name = found["name"]
        return names.get(name, name) if name else found.group()

    return _TOKEN.sub(written, body)
