"""English verb forms for the templates: "build a Bento" -> "builds a Bento", "building a Bento"."""

from __future__ import annotations

import re

DOUBLED = frozenset(
    (
        "run",
        "get",
        "stop",
        "set",
        "put",
        "cut",
        "shut",
        "pin",
        "swap",
        "ship",
        "wrap",
        "spin",
        "begin",
        "log",
        "quit",
        "let",
        "plan",
    )
)


def third_person(phrase: str) -> str:
    """The phrase with its first word, a verb, as in "it builds"."""
    verb, space, rest = phrase.partition(" ")
    if re.search(r"(s|sh|ch|x|z|o)$", verb):
        verb += "es"
    elif re.search(r"[^aeiou]y$", verb):
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest


def gerund(phrase: str) -> str:
    """The phrase with its first word, a verb, as in "building"."""
    verb, space, rest = phrase.partition(" ")
    if verb in DOUBLED:
        verb += verb[-1]
    elif re.search(r"[^eo]e$", verb):
        verb = verb[:-1]
    return verb + "ing" + space + rest
