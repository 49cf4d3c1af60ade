"""The cases of a schema: what its combinations of schemas come to.

`allOf`, `anyOf`, `oneOf`, `if`, `not`, references and dependencies are taken apart: each case is a
list of schemas that a value must all follow, and of which only the other keywords are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from openllm.answer.schema.document import Document, Goal, Place, TooLarge, invalid, refuse
from openllm.answer.schema.instances import same_key
from openllm.answer.schema.negation import is_leaf, negated

MOST_CASES = 256  # of one schema
MOST_STEPS = 20_000  # of one document
MOST_PAIRS = 24  # alternatives of oneOf that are compared with each other
_HINT = "Say which one is meant: a property that all require, with another const in each."

Way = tuple[Place, ...]  # what one alternative of a choice adds


@attrs.frozen
class _Item:
    """A schema that must be followed, and which one asked for it."""

    place: Place
    parent: _Item | None = None

    def has_asked(self) -> bool:
        """Whether the same schema stands among those that asked for it."""
        above = self.parent
        while above is not None:
            if above.place == self.place:
                return True
            above = above.parent
        return False


@attrs.define
class _Case:
    todo: list[_Item]
    choices: list[tuple[_Item, Sequence[Way]]] = attrs.field(factory=list)
    settled: dict[Place, None] = attrs.field(factory=dict)


class Cases:
    """Finds the cases of the schemas of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._steps = 0

    def of(self, goal: Goal) -> list[Goal]:
        """Errors: InvalidRequest, TooLarge."""
        done: list[Goal] = []
        pending = [_Case([_Item(place) for place in reversed(goal)])]
        while pending:
            case = pending.pop()
            if not self._settle(case):
                continue
            if not case.choices:
                done.append(tuple(case.settled))
            else:
                pending += self._chosen(case)
            if len(done) + len(pending) > MOST_CASES:
                where = goal[0].pointer if goal else "#"
                raise TooLarge(f"{where} comes to more than {MOST_CASES} cases")
        return done

    def _settle(self, case: _Case) -> bool:
        """Take its open schemas apart; False where no value can follow them."""
        while case.todo:
            item = case.todo.pop()
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise TooLarge(f"it comes to more than {MOST_STEPS} parts")
            place = item.place
            if place.schema is False:
                return False
            if place.schema is True or place in case.settled:
                if item.has_asked():
                    invalid(place.pointer, "follows from itself, with no property or item between")
                continue
            case.settled[place] = None
            case.todo += [_Item(more, item) for more in reversed(list(self._also(place)))]
            case.choices += [(item, ways) for ways in self._choices(place)]
        return _types(case.settled) != frozenset()

    def _chosen(self, case: _Case) -> Iterator[_Case]:
        """The case with each way of its first choice; the last one comes first."""
        item, ways = case.choices[0]
        for way in reversed(ways):
            todo = [_Item(place, item) for place in reversed(way)]
            yield _Case(todo, case.choices[1:], dict(case.settled))

    def _also(self, place: Place) -> Iterator[Place]:
        """What must be followed beside it."""
        for keyword in ("$dynamicRef", "$recursiveRef"):
            if place.has(keyword):
                refuse(place, keyword, "is not followed", "Use $ref and $defs.")
        if place.has("$ref"):
            yield self.document.referred(place)
        if place.has("allOf"):
            yield from place.schemas("allOf")

    def _choices(self, place: Place) -> Iterator[Sequence[Way]]:
        """What must be followed one way or another."""
        if place.has("anyOf"):
            yield [(option,) for option in place.schemas("anyOf")]
        if place.has("oneOf"):
            yield self._one_of(place)
        if place.has("if"):
            yield from _conditional(place)
        if place.has("not") and not is_leaf(place.get("not")):
            yield [(option,) for option in negated(place, self.document)]
        yield from _dependent(place)

    def _one_of(self, place: Place) -> Sequence[Way]:
        options = place.schemas("oneOf")
        name = self._telling(options)
        if name is not None:
            return [
                (option, place.derive("telling", {"required": [name]}, "oneOf"))
                for option in options
            ]
        if len(options) > MOST_PAIRS:
            why = f"has more than {MOST_PAIRS} schemas that nothing tells apart"
            refuse(place, "oneOf", why, _HINT)
        ways = []
        for at, option in enumerate(options):
            others = [
                place.derive(f"not-{number}", {"not": other.schema}, "oneOf")
                for number, other in enumerate(options)
                if number != at and not self._apart(option, other)
            ]
            ways.append((option, *others))
        return ways

    def _telling(self, options: Sequence[Place]) -> str | None:
        """A property that has other values in each of these objects."""
        found = [self._listed(option) for option in options]
        for name in found[0] if len(found) > 1 else ():
            sets = [each.get(name) for each in found]
            known = [values for values in sets if values is not None]
            if len(known) == len(sets) and len(frozenset().union(*known)) == sum(map(len, known)):
                return name
        return None

    def _listed(self, option: Place) -> Mapping[str, frozenset[object]]:
        """The properties whose values an object lists."""
        option = self._followed(option)
        found = {}
        properties = option.named("properties") if option.get("type") == "object" else {}
        for name, own in properties.items():
            values = [own.get("const")] if own.has("const") else own.get("enum")
            if isinstance(values, list):
                found[name] = frozenset(map(same_key, values))
        return found

    def _apart(self, first: Place, second: Place) -> bool:
        """Whether it is plain that no value follows both."""
        pair = [self._followed(first), self._followed(second)]
        if not _types(pair):
            return True
        values = [_values(place) for place in pair]
        if values[0] is not None and values[1] is not None:
            return not values[0] & values[1]
        listed = [self._listed(place) for place in pair]
        both = {*listed[0]} & {*listed[1]}
        for place in pair:
            both &= {*place.names("required")}
        if any(not listed[0][name] & listed[1][name] for name in both):
            return True
        return any(_lacks(one, other) for one, other in (pair, pair[::-1]))

    def _followed(self, place: Place) -> Place:
        for _ in range(8):
            if not place.has("$ref"):
                break
            place = self.document.referred(place)
        return place


def _values(place: Place) -> frozenset[object] | None:
    if place.has("const"):
        return frozenset((same_key(place.get("const")),))
    values = place.get("enum")
    return frozenset(map(same_key, values)) if isinstance(values, list) else None


def _lacks(one: Place, other: Place) -> bool:
    """Whether one of two objects has no room for what the other requires."""
    if one.get("type") != "object" or other.get("type") != "object":
        return False
    if one.get("additionalProperties") is not False or one.has("patternProperties"):
        return False
    return not set(other.names("required")) <= set(one.named("properties"))


def _types(places: Mapping[Place, None] | Sequence[Place]) -> frozenset[str]:
    """The types that all of these allow, as far as they say."""
    found = frozenset(("null", "boolean", "string", "array", "object", "integer", "fraction"))
    for place in places:
        said = allowed_types(place)
        if said is not None:
            found &= said
    return found


def allowed_types(place: Place) -> frozenset[str] | None:
    """What `type` and `nullable` say, a number as its two kinds; None where they do not. Errors:
    InvalidRequest.
    """
    if not place.has("type"):
        return None
    said = place.get("type")
    own = said if isinstance(said, list) else [said]
    if not all(isinstance(name, str) and name in _KINDS for name in own):
        invalid(place.at("type"), f"must be one or several of {', '.join(_KINDS)}")
    own = [*own, *(["null"] if place.get("nullable") is True else [])]
    return frozenset().union(*(_KINDS[name] for name in own))


_KINDS: Mapping[str, frozenset[str]] = {
    **{name: frozenset((name,)) for name in ("null", "boolean", "string", "array", "object")},
    "integer": frozenset(("integer",)),
    "number": frozenset(("integer", "fraction")),
}


def _conditional(place: Place) -> Iterator[Sequence[Way]]:
    condition = place.below(place.get("if"), "if")
    ways = [place.below(place.get(name), name) for name in ("then", "else") if place.has(name)]
    if not ways:
        return
    otherwise = place.derive("else", {"not": condition.schema}, "if")
    yes = [way for way in ways if way.pointer.endswith("/then")]
    no = [way for way in ways if way.pointer.endswith("/else")]
    yield [(condition, *yes), (otherwise, *no)]


def _dependent(place: Place) -> Iterator[Sequence[Way]]:
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        if not place.has(keyword):
            continue
        wanted = place.get(keyword)
        if not isinstance(wanted, dict):
            invalid(place.at(keyword), "must be an object")
        for name, value in wanted.items():
            own = {"required": value} if isinstance(value, list) else value
            then = place.below(own, keyword, name)
            present = place.derive(f"has-{name}", {"required": [name]}, keyword)
            absent = place.derive(f"lacks-{name}", {"properties": {name: False}}, keyword)
            yield [(absent,), (present, then)]
