"""Texts that several things are said of at once, as the states of one automaton: patterns that they
match, patterns that they do not, and how long they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import attrs

from openllm.answer.schema.text.characters import Characters, Interval
from openllm.answer.schema.text.pattern import Alternation, Chain, One, PatternError, Repeat, Tree

MOST_NODES = 6_000  # of one pattern, its counts written out
MOST_STATES = 1_500
MOST_STEPS = 60_000  # sets of nodes looked at
_TOO_LARGE = "is too large to be combined with what else is said of the text"

Nodes = frozenset[int]
State = tuple[tuple[Nodes, ...], int]  # where each pattern is, and how many characters came


@attrs.frozen
class Wanted:
    """What is said of a text."""

    matching: tuple[Tree, ...] = ()
    avoiding: tuple[Tree, ...] = ()
    least: int = 0
    most: int | None = None


@attrs.frozen
class Automaton:
    """States by number, the first one 0: by which characters one leads to which others; every one
    of them can come to an end.
    """

    moves: tuple[Mapping[int, Characters], ...]
    ends: frozenset[int]


class _Machine:
    """One pattern as nodes that characters lead between."""

    def __init__(self, tree: Tree) -> None:
        self.free: list[list[int]] = []  # what each node leads to without a character
        self.steps: list[list[tuple[Characters, int]]] = []
        begin = self._node()
        self.end = self._add(tree, begin)
        self.start = self.closure([begin])

    def _node(self) -> int:
        if len(self.free) > MOST_NODES:
            raise PatternError(_TOO_LARGE)
        self.free.append([])
        self.steps.append([])
        return len(self.free) - 1

    def _add(self, tree: Tree, begin: int) -> int:
        """Nodes for what the tree matches from `begin` on; where that ends."""
        if isinstance(tree, One):
            end = self._node()
            self.steps[begin].append((tree.of, end))
            return end
        if isinstance(tree, Chain):
            for part in tree.parts:
                begin = self._add(part, begin)
            return begin
        end = self._node()
        if isinstance(tree, Alternation):
            for option in tree.options:
                self.free[self._add(option, begin)].append(end)
        elif isinstance(tree, Repeat):
            self._repeat(tree, begin, end)
        return end

    def _repeat(self, tree: Repeat, begin: int, end: int) -> None:
        for _ in range(tree.least):
            begin = self._add(tree.part, begin)
        if tree.most is None:
            loop = self._node()
            self.free[begin].append(loop)
            self.free[self._add(tree.part, loop)].append(loop)
            self.free[loop].append(end)
            return
        self.free[begin].append(end)
        for _ in range(tree.most - tree.least):
            begin = self._add(tree.part, begin)
            self.free[begin].append(end)

    def closure(self, nodes: Iterable[int]) -> Nodes:
        """These, and all that they lead to without a character."""
        found, todo = set(nodes), list(nodes)
        while todo:
            for node in self.free[todo.pop()]:
                if node not in found:
                    found.add(node)
                    todo.append(node)
        return frozenset(found)

    def after(self, nodes: Nodes, code: int) -> Nodes:
        """Where a character leads from these."""
        return self.closure(
            {
                target
                for node in nodes
                for characters, target in self.steps[node]
                if chr(code) in characters
            }
        )

    def borders(self, nodes: Nodes) -> Iterable[Interval]:
        return (
            interval
            for node in nodes
            for characters, _ in self.steps[node]
            for interval in characters.intervals
        )


class _Builder:
    """Walks the states of all machines at once."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._machines = [_Machine(tree) for tree in (*wanted.matching, *wanted.avoiding)]
        self._positive = len(wanted.matching)
        self._counted = wanted.least if wanted.most is None else wanted.most
        self._steps = 0
        self._after: dict[tuple[int, Nodes, int], Nodes] = {}
        self._leads: dict[tuple[Nodes, ...], dict[tuple[Nodes, ...], Characters]] = {}

    def build(self) -> Automaton:
        first: State = (tuple(machine.start for machine in self._machines), 0)
        numbers, states = {first: 0}, [first]
        moves: list[dict[int, Characters]] = []
        for state in states:  # grows while it is walked through
            found: dict[int, Characters] = {}
            for target, characters in self._moves(state):
                number = numbers.setdefault(target, len(numbers))
                if number == len(states):
                    states.append(target)
                found[number] = characters
            if len(states) > MOST_STATES:
                raise PatternError(_TOO_LARGE)
            moves.append(found)
        ends = {numbers[state] for state in states if self._ends(state)}
        return _living(moves, ends)

    def _moves(self, state: State) -> Iterable[tuple[State, Characters]]:
        places, count = state
        most = self._wanted.most
        if most is not None and count >= most:
            return
        if places not in self._leads:
            self._leads[places] = self._lead(places)
        for target, characters in self._leads[places].items():
            yield (target, min(count + 1, self._counted)), characters

    def _lead(self, places: tuple[Nodes, ...]) -> dict[tuple[Nodes, ...], Characters]:
        """By which characters these lead where, however many came before."""
        pairs = [
            pair
            for machine, nodes in zip(self._machines, places, strict=True)
            for pair in machine.borders(nodes)
        ]
        starts = sorted({0, *(low for low, _ in pairs), *(high + 1 for _, high in pairs)})
        found: dict[tuple[Nodes, ...], list[Interval]] = {}
        for low, after in zip(starts, [*starts[1:], 0x110000], strict=True):
            if low < 0x110000 and (target := self._target(places, low)) is not None:
                found.setdefault(target, []).append((low, after - 1))
        return {target: Characters(intervals) for target, intervals in found.items()}

    def _target(self, places: Sequence[Nodes], code: int) -> tuple[Nodes, ...] | None:
        self._steps += len(places)
        if self._steps > MOST_STEPS:
            raise PatternError(_TOO_LARGE)
        if 0xD800 <= code <= 0xDFFF:
            code = 0xE000
        found = []
        for at, nodes in enumerate(places):
            key = (at, nodes, code)
            if key not in self._after:
                self._after[key] = self._machines[at].after(nodes, code)
            if at < self._positive and not self._after[key]:
                return None
            found.append(self._after[key])
        return tuple(found)

    def _ends(self, state: State) -> bool:
        places, count = state
        if count < self._wanted.least:
            return False
        return all(
            (machine.end in nodes) == (at < self._positive)
            for at, (machine, nodes) in enumerate(zip(self._machines, places, strict=True))
        )


def _living(moves: Sequence[Mapping[int, Characters]], ends: set[int]) -> Automaton:
    """Without the states from which no end can be reached; none are left where the first is one."""
    sources: dict[int, set[int]] = {}
    for source, leads in enumerate(moves):
        for target in leads:
            sources.setdefault(target, set()).add(source)
    alive, todo = set(ends), list(ends)
    while todo:
        for before in sources.get(todo.pop(), set()) - alive:
            alive.add(before)
            todo.append(before)
    if 0 not in alive:
        return Automaton((), frozenset())
    number = {old: new for new, old in enumerate(sorted(alive))}
    living = (moves[old] for old in sorted(alive))
    kept = tuple(
        {number[target]: characters for target, characters in leads.items() if target in alive}
        for leads in living
    )
    return Automaton(kept, frozenset(number[end] for end in ends))


@lru_cache(maxsize=256)
def automaton(wanted: Wanted) -> Automaton:
    """Errors: PatternError where it gets too large."""
    return _Builder(wanted).build()


def matches(tree: Tree, text: str) -> bool:
    """Whether the tree matches the whole text. Errors: PatternError where it is too large."""
    machine = _machine(tree)
    nodes = machine.start
    for letter in text:
        nodes = machine.after(nodes, ord(letter))
    return machine.end in nodes


def follows(wanted: Wanted, text: str) -> bool:
    """Whether a text is as wanted. Errors: PatternError where a tree is too large."""
    if len(text) < wanted.least or (wanted.most is not None and len(text) > wanted.most):
        return False
    return all(matches(tree, text) for tree in wanted.matching) and not any(
        matches(tree, text) for tree in wanted.avoiding
    )


_machine = lru_cache(maxsize=256)(_Machine)
