"""A case of a schema to the shapes of the values that follow it: one shape for each type, all that
the case's schemas say of that type together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import NoReturn

import attrs

from openllm.answer.schema.cases import allowed_types
from openllm.answer.schema.document import Goal, Place, TooLarge, invalid, refuse
from openllm.answer.schema.instances import kind, same_key, written
from openllm.answer.schema.numbers import Bound, NumberRange, highest, lowest
from openllm.answer.schema.shapes import Array, Listed, Number, Shape, TextShape
from openllm.answer.schema.text.automaton import Wanted, follows
from openllm.answer.schema.text.expression import exactly
from openllm.answer.schema.text.formats import PATTERNS
from openllm.answer.schema.text.pattern import PatternError, Tree, whole

ALL = frozenset(("null", "boolean", "string", "array", "object", "integer", "fraction"))
_NUMBER = frozenset(("integer", "fraction"))
# Of what type a schema is that does not say it and has one of these.
_OF_TYPES: Mapping[str, frozenset[str]] = {
    keyword: kinds
    for keywords, kinds in (
        ("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf", _NUMBER),
        ("minLength maxLength pattern format", frozenset(("string",))),
        ("items prefixItems minItems maxItems uniqueItems contains", frozenset(("array",))),
        ("properties required additionalProperties patternProperties", frozenset(("object",))),
        ("propertyNames minProperties maxProperties", frozenset(("object",))),
    )
    for keyword in keywords.split()
}
MOST_VALUES = 10_000  # of one list
_SIMPLER = "Make it simpler, or leave it out."

Stricter = Callable[
    [Bound | None, Bound | None], Bound | None
]  # of two bounds, the one that keeps both


def types(case: Goal) -> frozenset[str]:
    """The types that a case allows. Where it says none, those that its keywords are for."""
    said = [found for place in case if (found := allowed_types(place)) is not None]
    if said or any(place.has("const") or place.has("enum") for place in case):
        return ALL.intersection(*said)
    meant = [
        kinds for keyword, kinds in _OF_TYPES.items() if any(place.has(keyword) for place in case)
    ]
    return frozenset().union(*meant) or ALL


def who(case: Goal, keyword: str) -> Place:
    """Which schema of a case says it."""
    return next(place for place in case if place.has(keyword))


def plain_shapes(case: Goal) -> list[Shape]:
    """The shapes of what is neither object nor array. Errors: InvalidRequest."""
    allowed = types(case)
    excluded = [value for place in case for value in _excluded(place)]
    found: list[Shape] = []
    names = [name for name in ("null", "boolean") if name in allowed]
    constants: list[object] = [None] * ("null" in names) + [True, False] * ("boolean" in names)
    keys = set(map(same_key, excluded))
    kept = tuple(written(value) for value in constants if same_key(value) not in keys)
    if kept:
        found.append(Listed(kept))
    if allowed & _NUMBER:
        found.append(Number(_numbers(case, allowed, excluded), case))
    if "string" in allowed:
        found.append(TextShape(wanted_text(case), case))
    for place in case:
        for value in _excluded(place):
            if kind(value) in allowed & {"array", "object"}:
                refuse(place, "not", "excludes an array or an object", _SIMPLER)
    return found


def listed(case: Goal) -> Listed | None:
    """The values that a case lists, without those that it does not allow; None: it lists none.
    Errors: InvalidRequest.
    """
    sets = [_values(place) for place in case if place.has("const") or place.has("enum")]
    if not sets:
        return None
    both = [{same_key(value) for value in values} for values in sets]
    keys = both[0].intersection(*both[1:])
    first = {same_key(value): value for value in sets[0] if same_key(value) in keys}
    return Listed(tuple(written(value) for value in first.values() if allows(case, value)))


def _values(place: Place) -> list[object]:
    values = place.get("enum") if place.has("enum") else [place.get("const")]
    if not isinstance(values, list):
        invalid(place.at("enum"), "must be a list")
    if len(values) > MOST_VALUES:
        raise TooLarge(f"{place.at('enum')} has more than {MOST_VALUES} values")
    if place.has("enum") and place.has("const"):
        values = [value for value in values if same_key(value) == same_key(place.get("const"))]
    return values


def allows(case: Goal, value: object) -> bool:
    """Whether the case allows a value that it lists. Errors: InvalidRequest."""
    name = kind(value)
    if name not in types(case):
        return False
    if any(same_key(value) == same_key(other) for place in case for other in _excluded(place)):
        return False
    if isinstance(value, str):
        return _allows_text(case, value)
    if name in _NUMBER:
        return within(_numbers(case, _NUMBER, ()), Decimal(str(value)))
    if name in ("array", "object"):
        for keyword, kinds in _OF_TYPES.items():
            for place in case:
                if name in kinds and place.has(keyword):
                    why = f"stands beside a list of values with {name}s in it"
                    refuse(place, keyword, why, "Leave it out, or those values.")
    return True


def within(wanted: NumberRange, value: Decimal) -> bool:
    """Whether a number lies between the bounds and is a multiple of the steps."""
    low, high = wanted.low, wanted.high
    if low is not None and (value < low.value or (low.open and value == low.value)):
        return False
    if high is not None and (value > high.value or (high.open and value == high.value)):
        return False
    return all(value % step == 0 for step in wanted.steps)


def _allows_text(case: Goal, value: str) -> bool:
    try:
        return follows(wanted_text(case), value)
    except PatternError as error:
        refuse_pattern(case, error)


def refuse_pattern(case: Goal, error: PatternError) -> NoReturn:
    """Errors: InvalidRequest."""
    keywords = [
        (place, keyword)
        for keyword in ("pattern", "not", "format", "patternProperties", "propertyNames")
        for place in case
        if place.has(keyword)
    ]
    place, keyword = keywords[0] if keywords else (case[0], "maxLength")
    refuse(place, keyword, str(error), _SIMPLER)


def _excluded(place: Place) -> list[object]:
    """The values that `not` excludes."""
    inner = place.get("not")
    if not isinstance(inner, dict) or not ("const" in inner or "enum" in inner):
        return []
    return _values(place.below(inner, "not"))


def _numbers(case: Goal, allowed: frozenset[str], excluded: Iterable[object]) -> NumberRange:
    found = NumberRange(integer="fraction" not in allowed)
    if "integer" not in allowed:
        place = who(case, "type")
        refuse(place, "not", "excludes integers and allows other numbers", _SIMPLER)
    for place in case:
        low, high = _low(place), _high(place)
        step = place.number("multipleOf")
        if step is not None and step <= 0:
            invalid(place.at("multipleOf"), "must be more than 0")
        found = attrs.evolve(
            found,
            low=highest(found.low, low),
            high=lowest(found.high, high),
            steps=tuple(dict.fromkeys((*found.steps, *([step] if step is not None else [])))),
        )
    numbers = (value for value in excluded if kind(value) in _NUMBER)
    return attrs.evolve(found, excluded=frozenset(Decimal(str(value)) for value in numbers))


def _low(place: Place) -> Bound | None:
    return _edge(place, "minimum", "exclusiveMinimum", highest)


def _high(place: Place) -> Bound | None:
    return _edge(place, "maximum", "exclusiveMaximum", lowest)


def _edge(place: Place, closed: str, opened: str, stricter: Stricter) -> Bound | None:
    """The bound that two keywords say. In draft 4 the second is a switch for the first."""
    if isinstance(place.get(opened), bool):
        return _bound(place, closed, is_open=place.get(opened) is True)
    return stricter(_bound(place, closed, is_open=False), _bound(place, opened, is_open=True))


def _bound(place: Place, keyword: str, *, is_open: bool) -> Bound | None:
    value = place.number(keyword)
    return None if value is None else Bound(value, is_open)


def wanted_text(case: Goal) -> Wanted:
    """All that a case says of a string. Errors: InvalidRequest."""
    matching: list[Tree] = []
    avoiding: list[Tree] = []
    least, most = 0, None
    for place in case:
        least = max(least, place.count("minLength") or 0)
        most = smaller(most, place.count("maxLength"))
        if place.has("pattern"):
            matching.append(pattern(place, "pattern", place.get("pattern")))
        if place.get("format") in PATTERNS:
            matching.append(whole(PATTERNS[place.get("format")]))
        inner = place.get("not")
        if isinstance(inner, dict) and "pattern" in inner:
            avoiding.append(pattern(place, "not", inner["pattern"]))
        avoiding += [exactly(value) for value in _excluded(place) if isinstance(value, str)]
    once = dict.fromkeys
    return Wanted(tuple(once(matching)), tuple(once(avoiding)), least, most)


def pattern(place: Place, keyword: str, text: object) -> Tree:
    """A regular expression of a schema. Errors: InvalidRequest."""
    if not isinstance(text, str):
        invalid(place.at(keyword), "must be a regular expression as a text")
    try:
        return whole(text)
    except PatternError as error:
        refuse(place, keyword, str(error), "Write it without that.")


def smaller(first: int | None, second: int | None) -> int | None:
    """The smaller of two bounds, of which None is none."""
    both = [bound for bound in (first, second) if bound is not None]
    return min(both, default=None)


def joined(places: Iterable[Place]) -> Goal:
    """Schemas that must all be followed, each once, without those that anything follows."""
    return tuple(dict.fromkeys(place for place in places if place.schema not in (True, {})))


def array(goal: Goal, case: Goal) -> Array:
    """Errors: InvalidRequest."""
    prefixes = [_prefix(place) for place in case]
    rests = [_rest(place) for place in case]
    length = max(map(len, prefixes), default=0)
    least, most = 0, None
    for place in case:
        least = max(least, place.count("minItems") or 0)
        most = smaller(most, place.count("maxItems"))
        if place.get("unevaluatedItems") not in (None, True):
            closes = place.get("unevaluatedItems") is False and goal == (place,)
            if not closes:
                refuse(place, "unevaluatedItems", "is followed at the top only", "Use items.")
    first = [
        joined(
            own
            for prefix, rest in zip(prefixes, rests, strict=True)
            for own in (prefix[at : at + 1] or filter(None, (rest,)))
        )
        for at in range(length)
    ]
    said = any(rest is not None for rest in rests)
    closed = not said and least <= length and (length or _unevaluated(case))
    rest = None if closed else joined(rest for rest in rests if rest is not None)
    if rest is not None and any(place.schema is False for place in rest):
        rest = None
    unique = any(place.get("uniqueItems") is True for place in case)
    return Array(tuple(first), rest, least, most, _contains(case), unique, case)


def _unevaluated(case: Goal) -> bool:
    return any(place.get("unevaluatedItems") is False for place in case)


def _prefix(place: Place) -> list[Place]:
    keyword = "prefixItems" if place.has("prefixItems") else "items"
    return place.schemas(keyword) if isinstance(place.get(keyword), list) else []


def _rest(place: Place) -> Place | None:
    keyword = "additionalItems" if isinstance(place.get("items"), list) else "items"
    return place.below(place.get(keyword), keyword) if place.has(keyword) else None


def _contains(case: Goal) -> Goal | None:
    found = [place for place in case if place.has("contains")]
    for place in found:
        least = place.count("minContains")
        if len(found) > 1 or place.has("maxContains") or (least is not None and least > 1):
            refuse(place, "contains", "is followed alone, for one item at least", _SIMPLER)
        if least == 0:
            return None
    return joined(place.below(place.get("contains"), "contains") for place in found) or None
