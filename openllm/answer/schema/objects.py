"""What a case says of an object: each property's schemas, and those of properties that it does not
name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import attrs

from openllm.answer.schema.document import Goal, Place, TooLarge, refuse
from openllm.answer.schema.merging import allows, joined, listed, pattern, smaller, wanted_text
from openllm.answer.schema.shapes import Free, Object, Property
from openllm.answer.schema.text.automaton import Wanted, matches
from openllm.answer.schema.text.expression import exactly
from openllm.answer.schema.text.pattern import Tree

MOST_PATTERNS = 4
MOST_PROPERTIES = 2_000
MOST_NAMES = 64  # that propertyNames may list
_SIMPLER = "Make it simpler, or leave it out."


@attrs.frozen
class _Part:
    """What one schema says of properties."""

    place: Place
    properties: dict[str, Place]
    patterns: dict[Tree, Place]
    additional: Place | None

    def of(self, name: str) -> list[Place]:
        """The schemas of one property."""
        found = [self.properties[name]] if name in self.properties else []
        found += [schema for tree, schema in self.patterns.items() if matches(tree, name)]
        return found or ([self.additional] if self.additional else [])


def object_shape(goal: Goal, case: Goal, cases: Callable[[Goal], list[Goal]]) -> Object:
    """Errors: InvalidRequest."""
    parts = [_part(place) for place in case]
    least, most = 0, None
    required: dict[str, None] = {}
    for place in case:
        least = max(least, place.count("minProperties") or 0)
        most = smaller(most, place.count("maxProperties"))
        required.update(dict.fromkeys(place.names("required")))
    allowed = _Names(case, cases)
    names = dict.fromkeys(name for part in parts for name in part.properties)
    closed = _closes(parts, goal, least)
    extra = allowed.listed or () if not closed else ()
    if len(names) > MOST_PROPERTIES:
        raise TooLarge(f"an object has more than {MOST_PROPERTIES} properties")
    properties = tuple(
        Property(name, joined(own for part in parts for own in part.of(name)), name in required)
        for name in dict.fromkeys((*names, *required, *extra))
        if allowed.has(name)
    )
    if any(not allowed.has(name) for name in required):
        never = Property("", (Place("#never", "#", False),), True)
        properties = (*properties, never)
    free = _free(parts, closed, allowed, [found.name for found in properties])
    return Object(properties, free, least, most, case)


def _part(place: Place) -> _Part:
    patterns = {
        pattern(place, "patternProperties", text): schema
        for text, schema in place.named("patternProperties").items()
    }
    additional = None
    if place.has("additionalProperties"):
        additional = place.below(place.get("additionalProperties"), "additionalProperties")
    return _Part(place, place.named("properties"), patterns, additional)


def _closes(parts: list[_Part], goal: Goal, least: int) -> bool:
    """Whether there are no properties beside the named ones, where no schema says so: a model that
    is told some properties shall not make up others.
    """
    named = {name for part in parts for name, own in part.properties.items() if own.schema}
    closed = bool(named) and least <= len(named)
    for part in parts:
        rest = part.place.get("unevaluatedProperties")
        if rest is not None and rest is not True:
            derived = any(other.place.derived and other.properties for other in parts)
            if rest is not False or goal != (part.place,) or derived:
                why = "is followed as false, at the top of what it closes, without conditions"
                refuse(part.place, "unevaluatedProperties", why, "Use additionalProperties.")
            closed = True
    return closed and not any(part.additional for part in parts)


class _Names:
    """What `propertyNames` says."""

    def __init__(self, case: Goal, cases: Callable[[Goal], list[Goal]]) -> None:
        said = [place for place in case if place.has("propertyNames")]
        goal = joined(place.below(place.get("propertyNames"), "propertyNames") for place in said)
        text = Place("#name", "#", {"type": "string"})
        found = list(cases((*goal, text))) if goal else [(text,)]
        if len(found) > 1:
            refuse(said[0], "propertyNames", "is followed without alternatives", _SIMPLER)
        self._case = found[0] if found else None
        self.listed: tuple[str, ...] | None = None if found else ()
        values = listed(found[0]) if found else None
        if values is not None:
            self.listed = tuple(json.loads(value) for value in values.values)
            if len(self.listed) > MOST_NAMES:
                refuse(said[0], "propertyNames", f"lists more than {MOST_NAMES} names", _SIMPLER)

    def has(self, name: str) -> bool:
        if self.listed is not None:
            return name in self.listed
        return self._case is not None and allows(self._case, name)

    def wanted(self) -> Wanted | None:
        """What a name looks like; None where they are listed."""
        return None if self.listed is not None or not self._case else wanted_text(self._case)


def _free(parts: list[_Part], closed: bool, allowed: _Names, taken: list[str]) -> tuple[Free, ...]:
    """Properties without a name of their own: one kind for each choice of patterns that the name
    matches.
    """
    name = allowed.wanted()
    patterns = {tree: part for part in parts for tree in part.patterns}
    if name is None:
        return ()
    if len(patterns) > MOST_PATTERNS:
        place = next(iter(patterns.values())).place
        refuse(place, "patternProperties", f"has more than {MOST_PATTERNS} patterns", _SIMPLER)
    found = []
    avoided = tuple(map(exactly, taken))
    for count in range(len(patterns) + 1):
        for matching in itertools.combinations(patterns, count):
            if not count and (closed or (patterns and not any(part.additional for part in parts))):
                continue
            goal = joined(own for part in parts for own in _of_kind(part, matching))
            if any(place.schema is False for place in goal):
                continue
            others = [tree for tree in patterns if tree not in matching]
            wanted = attrs.evolve(
                name,
                matching=(*name.matching, *matching),
                avoiding=(*name.avoiding, *others, *avoided),
            )
            found.append(Free(wanted, goal))
    return tuple(found)


def _of_kind(part: _Part, matching: tuple[Tree, ...]) -> list[Place]:
    own = [schema for tree, schema in part.patterns.items() if tree in matching]
    return own or ([part.additional] if part.additional else [])
