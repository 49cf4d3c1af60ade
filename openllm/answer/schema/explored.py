"""All schemas that a document leads to, as shapes, and which of them any value can follow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from decimal import localcontext
from threading import Lock

from openllm.answer.schema.cases import Cases
from openllm.answer.schema.document import Document, Goal, TooLarge
from openllm.answer.schema.merging import (
    array,
    joined,
    listed,
    plain_shapes,
    refuse_pattern,
    types,
)
from openllm.answer.schema.objects import object_shape
from openllm.answer.schema.shapes import Array, Listed, Object, Shape
from openllm.answer.schema.text.pattern import PatternError

MOST_GOALS = 4_000
DIGITS = 5_000  # of the largest numbers that Python reads, and more
_MOST_KNOWN = 256


class Explored:
    """The shapes of each goal that the root leads to. Errors: InvalidRequest, TooLarge."""

    def __init__(self, document: Document) -> None:
        self._cases = Cases(document)
        self.shapes: dict[Goal, tuple[Shape, ...]] = {}
        self.root: Goal = joined((document.root,))
        todo = [self.root]
        while todo:
            goal = todo.pop()
            if goal in self.shapes or not goal:
                continue
            found = self.shapes[goal] = self._shapes(goal)
            if len(self.shapes) > MOST_GOALS:
                raise TooLarge(f"it comes to more than {MOST_GOALS} schemas")
            for shape in found:
                todo += inner(shape)
        self._fruitful: set[Goal] = set()
        self._find_fruitful()

    def can(self, goal: Goal) -> bool:
        """Whether any value follows it."""
        return not goal or goal in self._fruitful

    def can_shape(self, shape: Shape) -> bool:
        """Whether any value has this shape, as far as its parts tell."""
        if isinstance(shape, Listed):
            return bool(shape.values)
        if isinstance(shape, Object):
            needed = [one for one in shape.properties if one.required]
            possible = sum(self.can(one.goal) for one in shape.properties)
            more = any(self.can(free.goal) for free in shape.free)
            return (
                all(self.can(one.goal) for one in needed)
                and (more or possible >= shape.least)
                and (shape.most is None or max(len(needed), shape.least) <= shape.most)
            )
        if isinstance(shape, Array):
            length = len(shape.prefix)
            beyond = shape.least > length or shape.contains is not None
            return (
                all(self.can(goal) for goal in shape.prefix[: shape.least])
                and (not beyond or (shape.rest is not None and self.can(shape.rest)))
                and (shape.most is None or shape.least <= shape.most)
                and (shape.contains is None or self.can(contained(shape)))
            )
        return True

    def _shapes(self, goal: Goal) -> tuple[Shape, ...]:
        found: dict[Shape, None] = {}
        values: dict[str, None] = {}
        for case in self._cases.of(goal):
            try:
                for shape in self._of_case(goal, case):
                    if isinstance(shape, Listed):
                        values.update(dict.fromkeys(shape.values))
                    else:
                        found[shape] = None
            except PatternError as error:
                refuse_pattern(case, error)
        return (*([Listed(tuple(values))] if values else []), *found)

    def _of_case(self, goal: Goal, case: Goal) -> list[Shape]:
        values = listed(case)
        if values is not None:
            return [values]
        found, allowed = plain_shapes(case), types(case)
        if "object" in allowed:
            found.append(object_shape(goal, case, self._cases.of))
        if "array" in allowed:
            found.append(array(goal, case))
        return found

    def _find_fruitful(self) -> None:
        """Those that finite values follow: found from the inside outwards."""
        above: dict[Goal, list[Goal]] = {}
        for goal, shapes in self.shapes.items():
            for shape in shapes:
                for part in inner(shape):
                    above.setdefault(part, []).append(goal)
        todo = list(self.shapes)
        while todo:
            goal = todo.pop()
            if goal not in self._fruitful and any(map(self.can_shape, self.shapes[goal])):
                self._fruitful.add(goal)
                todo += above.get(goal, [])


_known: OrderedDict[str, Explored] = OrderedDict()  # the schemas that were explored last
_lock = Lock()


def known(schema: str) -> Explored | None:
    """A schema, given as text, that was explored not long ago."""
    with _lock:
        found = _known.get(schema)
        if found is not None:
            _known.move_to_end(schema)
        return found


def explored(schema: str) -> Explored:
    """A schema given as text. Bounded, but not for an event loop. Errors: InvalidRequest, TooLarge,
    RecursionError.
    """
    found = known(schema)
    if found is None:
        with localcontext(prec=DIGITS):
            found = Explored(Document(schema))
        remember({schema: found})
    return found


def remember(schemas: Mapping[str, Explored]) -> None:
    """Have `known` find schemas, by their texts, that are in use again."""
    with _lock:
        for text, found in schemas.items():
            _known[text] = found
            _known.move_to_end(text)
        while len(_known) > _MOST_KNOWN:
            _known.popitem(last=False)


def contained(shape: Array) -> Goal:
    """What the item follows that an array must contain."""
    return joined((*(shape.rest or ()), *(shape.contains or ())))


def inner(shape: Shape) -> list[Goal]:
    """The goals of what a shape has in it."""
    if isinstance(shape, Object):
        named = [one.goal for one in shape.properties]
        return [*named, *(free.goal for free in shape.free)]
    if isinstance(shape, Array):
        rest = [shape.rest] if shape.rest is not None else []
        return [*shape.prefix, *rest, *([contained(shape)] if shape.contains else [])]
    return []
