"""The arguments of a tool that are written bare, a text as it is and all else as JSON: the grammar
that keeps them to a schema, and what may be said by one of them.

Each goes up to a mark. No text within them has the mark in it; one whose length is bounded has not
even its first letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from openllm.answer.grammar import either, literal, optional, sequence
from openllm.answer.schema.checking import follows, listed_values
from openllm.answer.schema.document import Goal
from openllm.answer.schema.explored import Explored, known
from openllm.answer.schema.merging import refuse_pattern
from openllm.answer.schema.shapes import Free, Listed, Object, Shape, TextShape
from openllm.answer.schema.text.automaton import Wanted, automaton
from openllm.answer.schema.text.automaton import follows as follows_text
from openllm.answer.schema.text.characters import ANY, WORD, Characters, one
from openllm.answer.schema.text.expression import CODE, TextWriter, exactly
from openllm.answer.schema.text.pattern import (
    Alternation,
    Chain,
    One,
    PatternError,
    Repeat,
    Tree,
    chain,
)
from openllm.answer.schema.writing import GrammarWriter, within_bounds

Write = Callable[[str, str], str]  # the expressions of an argument's name and value to that of both

_NAME = Repeat(One(WORD | one("-") | one(".")), 1, None)  # of an argument that is not declared
_ESCAPE = r'"\\" ([\u0022\u005c\u002fbfnrt] | "u" basic_code)'


def bare_grammar(schema: str, end: str, write: Write) -> str:
    """The grammar, with the rule `root`, of the arguments that follow a schema, each written bare
    up to the mark `end`: all that are required, others or not, in the schema's order, then any
    that it does not name. `write` makes one of its name and value.

    Errors: InvalidRequest for a schema that cannot be kept. It keeps a schema of which nothing is
    `lost`.
    """
    return within_bounds(schema, lambda found: _BareWriter(found, end).arguments(write))


def lost(found: Explored) -> str | None:
    """The keyword of a schema of arguments that `bare_grammar` does not keep; None: it keeps all.

    How many arguments there are is not counted.
    """
    objects = _objects(found)
    if not objects:
        return "type"
    for shape in objects:
        if shape.least > sum(own.required for own in shape.properties):
            return "minProperties"
        if shape.most is not None and (shape.free or shape.most < len(shape.properties)):
            return "maxProperties"
    return None


class Argument:
    """The values of one argument of a schema that was explored."""

    def __init__(self, found: Explored, name: str) -> None:
        self._found = found
        objects = _objects(found)
        named = [own.goal for shape in objects for own in shape.properties if own.name == name]
        others = (free for shape in objects for free in shape.free if follows_text(free.name, name))
        self._goals = named or [free.goal for free in others]

    def allows(self, value: object) -> bool:
        """Whether it may be this JSON value, its fractions as decimals."""
        try:
            return any(follows(self._found, goal, value) for goal in self._goals)
        except PatternError:
            return False

    def lists(self, text: str) -> bool:
        """Whether this text is one of the values that it lists."""
        shapes = (shape for goal in self._goals for shape in self._found.shapes.get(goal, ()))
        return any(isinstance(own, Listed) and text in listed_values(own) for own in shapes)


def argument(schema: str, name: str) -> Argument | None:
    """One argument of a schema, given as text; None where that was not explored lately, as all are
    that calls are kept to.
    """
    found = known(schema)
    return None if found is None else Argument(found, name)


def _objects(found: Explored) -> list[Object]:
    shapes = filter(found.can_shape, found.shapes.get(found.root, ()))
    return [shape for shape in shapes if isinstance(shape, Object)]


class _BareWriter(GrammarWriter):
    """Writes the values of arguments bare, and what is within them as JSON without the mark."""

    def __init__(self, found: Explored, end: str) -> None:
        super().__init__(found)
        self._end = end

    def arguments(self, write: Write) -> str:
        """The whole grammar. Errors: InvalidRequest, TooLarge."""
        objects = _objects(self.explored) or [Object((), (), 0, None, ())]
        return self.whole(either(self._arguments(shape, write) for shape in objects))

    def _arguments(self, shape: Object, write: Write) -> str:
        found = []
        for own in shape.properties:
            if self.explored.can(own.goal):
                argument = write(literal(own.name), self._value(own.goal))
                found.append(argument if own.required else optional(argument))
        more = [pair for free in shape.free for pair in self._undeclared(free, shape.case, write)]
        found += [f"({' | '.join(more)})*"] if more else []
        return sequence(*found) or '""'

    def _undeclared(self, free: Free, case: Goal, write: Write) -> Iterator[str]:
        """An argument that the schema does not name."""
        wanted = attrs.evolve(free.name, matching=(*free.name.matching, _NAME))
        try:
            name = TextWriter(self.rules, Characters.bare, quote="").text(wanted)
        except PatternError as error:
            refuse_pattern(case, error)
        if name is not None and self.explored.can(free.goal):
            yield write(name, self._value(free.goal))

    def _value(self, goal: Goal) -> str:
        """One value, bare. Any text is any value, too: what it is is told when it is read."""
        shapes = self.explored.shapes[goal] if goal else ()
        if not goal or any(_is_free(shape) for shape in shapes):
            return self._any_text()
        options = [each for shape in shapes for each in self._bare(shape)]
        return self.rules.add(" | ".join(options)) if options else '""'

    def _bare(self, shape: Shape) -> list[str]:
        if isinstance(shape, TextShape):
            try:
                found = self._text(shape.wanted)
            except PatternError as error:
                refuse_pattern(shape.case, error)
            return [] if found is None else [found]
        if not isinstance(shape, Listed):
            return self.shape(shape) if self.explored.can_shape(shape) else []
        written = (
            own if isinstance(own, str) else value
            for value, own in zip(shape.values, listed_values(shape), strict=True)
        )
        return [literal(value) for value in written if self._end not in value]

    def shape(self, shape: Shape) -> list[str]:
        if isinstance(shape, Listed):
            values = (value for value in shape.values if self._end not in value)
            return super().shape(Listed(tuple(values)))
        return super().shape(shape)

    def _any_text(self) -> str:
        mark = self._end.encode().hex()
        body = f"TagDispatch(loop_after_dispatch=false, excludes=({literal(self._end)}))"
        return self.rules.share(f"basic_before_{mark}", body)

    def _text(self, wanted: Wanted) -> str | None:
        """A text as it is, without the mark. Errors: PatternError."""
        return self._without_mark(wanted, TextWriter(self.rules, Characters.bare, quote=""))

    def string(self, wanted: Wanted) -> str | None:
        return self._without_mark(wanted, TextWriter(self.rules))

    def _without_mark(self, wanted: Wanted, writer: TextWriter) -> str | None:
        first = self._end[0]
        if not all(_has(tree, first) for tree in wanted.matching):
            return writer.text(wanted)
        if wanted.matching:
            around = Repeat(One(ANY), 0, None)
            marked = chain((around, exactly(self._end), around))
            try:
                automaton(apart := attrs.evolve(wanted, avoiding=(*wanted.avoiding, marked)))
                return writer.text(apart)
            except PatternError:
                pass  # then without the mark's first letter
        trees = wanted.matching or (Repeat(One(ANY), wanted.least, wanted.most),)
        return writer.text(attrs.evolve(wanted, matching=tuple(_lacking(t, first) for t in trees)))

    def any_string(self) -> str:
        """Wherever the mark has begun, the next letter is not the one that it goes on with."""
        share, first = self.rules.share, one(self._end[0])
        share("basic_code", CODE)
        share("basic_other", f"{(_CHARACTERS - first).expression()} | {_ESCAPE}")
        after = '""'
        for at in reversed(range(1, len(self._end))):
            letter = one(self._end[at])
            options = ['""', f"{(_CHARACTERS - first - letter).expression()} basic_other*"]
            options.append(f"{_ESCAPE} basic_other*")
            if at < len(self._end) - 1:
                options.append(sequence(letter.expression(), after))
            after = share(f"basic_mark{at}", " | ".join(options))
        body = rf'"\"" basic_other* ({first.expression()} {after})* "\""'
        return share("basic_string", body)


_CHARACTERS = ANY - Characters([(0, 31), (0x22, 0x22), (0x5C, 0x5C)])


def _is_free(shape: Shape) -> bool:
    return isinstance(shape, TextShape) and shape.wanted == Wanted()


def _has(tree: Tree, letter: str) -> bool:
    """Whether a letter may stand in what a tree matches."""
    if isinstance(tree, One):
        return letter in tree.of
    if isinstance(tree, Repeat):
        return _has(tree.part, letter)
    parts: Sequence[Tree] = ()
    if isinstance(tree, Chain | Alternation):
        parts = tree.parts if isinstance(tree, Chain) else tree.options
    return any(_has(part, letter) for part in parts)


def _lacking(tree: Tree, letter: str) -> Tree:
    """The same texts but those with a letter in them. Errors: PatternError where that must be."""
    if isinstance(tree, One):
        rest = tree.of - one(letter)
        if not rest:
            raise PatternError(f"wants a {letter} and is too large to be kept apart from a mark")
        return One(rest)
    if isinstance(tree, Repeat):
        return Repeat(_lacking(tree.part, letter), tree.least, tree.most)
    if isinstance(tree, Chain):
        return Chain(tuple(_lacking(part, letter) for part in tree.parts))
    if isinstance(tree, Alternation):
        return Alternation(tuple(_lacking(option, letter) for option in tree.options))
    return tree
