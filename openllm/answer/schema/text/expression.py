"""From what is said of a text to the grammar of it: as a JSON string, or as the text itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs

from openllm.answer.grammar import between_times, either, literal, sequence
from openllm.answer.schema.rules import RuleSet
from openllm.answer.schema.text.automaton import Automaton, Wanted, automaton
from openllm.answer.schema.text.characters import ANY, Characters
from openllm.answer.schema.text.pattern import (
    Alternation,
    Chain,
    One,
    Repeat,
    Tree,
    at_most,
    chain,
    lengths,
)

# Any string: characters as they are, or escaped in any way, halves of surrogates in pairs only.
STRING = r'"\"" (basic_character | "\\" ([\u0022\u005c\u002fbfnrt] | "u" basic_code))* "\""'
CHARACTER = (ANY - Characters([(0, 31), (0x22, 0x22), (0x5C, 0x5C)])).expression()
CODE = (
    r"[0-9a-cA-Ce-fE-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F]"
    r" | [dD] [0-7] [0-9a-fA-F] [0-9a-fA-F]"
    r' | [dD] [89abAB] [0-9a-fA-F] [0-9a-fA-F] "\\u" [dD] [c-fC-F] [0-9a-fA-F] [0-9a-fA-F]'
)
LONG = 128  # characters from which a pattern and a length are kept by shorter parts
_QUOTE = '"\\""'
_BRACKETS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "()[]{}"}


def exact(text: str) -> str:
    """A literal without brackets in it, which engines count."""
    return literal(text).translate(_BRACKETS)


def quoted(name: str) -> str:
    """The literal of a JSON string."""
    return exact(json.dumps(name, ensure_ascii=False))


def exactly(text: str) -> Tree:
    """The tree of one text."""
    return chain([One(Characters([(ord(letter), ord(letter))])) for letter in text])


def simplified(wanted: Wanted) -> Wanted:
    """The same with one pattern alone, where its own lengths, or a count within it, keep the other
    bounds; beyond `LONG` characters some of the same texts.
    """
    if len(wanted.matching) != 1 or wanted.avoiding or (wanted.least, wanted.most) == (0, None):
        return wanted
    tree = wanted.matching[0]
    shortest, longest = lengths(tree)
    if shortest >= wanted.least and (
        wanted.most is None or (longest is not None and longest <= wanted.most)
    ):
        return Wanted((tree,))
    if isinstance(tree, Repeat) and isinstance(tree.part, One):
        bounds = [most for most in (tree.most, wanted.most) if most is not None]
        least, most = max(tree.least, wanted.least), min(bounds, default=None)
        if most is None or least <= most:
            return Wanted((Repeat(tree.part, least, most),))
    if wanted.most is not None and wanted.most > LONG and shortest >= wanted.least:
        shorter = at_most(tree, wanted.most)
        return wanted if shorter is None else Wanted((shorter,))
    return wanted


@attrs.frozen
class TextWriter:
    """Writes texts into the rules of a grammar: each character as `letter` writes one of a set, the
    whole between two times `quote`, an expression; "" for none.
    """

    rules: RuleSet
    letter: Callable[[Characters], str] = Characters.expression
    quote: str = _QUOTE

    def text(self, wanted: Wanted) -> str | None:
        """The expression of such a text; None where there is none. Errors: PatternError for what
        is too large.
        """
        wanted = simplified(wanted)
        if not wanted.matching and not wanted.avoiding:
            if wanted.most is not None and wanted.most < wanted.least:
                return None
            return self._quoted(self._tree(Repeat(One(ANY), wanted.least, wanted.most)))
        if len(wanted.matching) == 1 and wanted == Wanted(wanted.matching):
            return self._quoted(self._tree(wanted.matching[0]))
        found = automaton(wanted)
        return self._before(self._states(found)) if found.moves else None

    def _quoted(self, inside: str) -> str:
        return sequence(self.quote, inside, self.quote) if self.quote else inside

    def _before(self, inside: str) -> str:
        return sequence(self.quote, inside) if self.quote else inside

    def _tree(self, tree: Tree) -> str:
        """Each part is a rule of its own, so that brackets do not nest."""
        if isinstance(tree, One):
            return self.letter(tree.of)
        if isinstance(tree, Chain):
            return sequence(*map(self._tree, tree.parts)) or '""'
        if isinstance(tree, Alternation):
            return self.rules.add(" | ".join(map(self._tree, tree.options)))
        if not isinstance(tree, Repeat) or tree.most == 0:
            return '""'
        part = self._tree(tree.part)
        part = part if isinstance(tree.part, One | Alternation) else self.rules.add(part)
        return f"{part}{_times(tree.least, tree.most)}"

    def _states(self, found: Automaton) -> str:
        """Each state is a rule that goes on to the others, and to the quote where it can end: a
        rule that might end with every character would be looked back from each time.
        """
        names = [self.rules.name() for _ in found.moves]
        for number, moves in enumerate(found.moves):
            loop = moves.get(number)
            options = [
                sequence(self.letter(characters), names[target])
                for target, characters in moves.items()
                if target != number
            ]
            options += [self.quote or '""'] * (number in found.ends)
            body = either(options)
            if loop is not None:
                body = sequence(f"{self.letter(loop)}*", body)
            self.rules.define(names[number], body)
        return names[0]


def _times(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    return short.get((least, most), between_times(least, most))
