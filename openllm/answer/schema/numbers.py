"""Numbers between bounds, and multiples of a number, as grammars of how JSON writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from openllm.answer.grammar import between_times, either, literal, sequence
from openllm.answer.schema.rules import RuleSet

INTEGER = '"-"? ("0" | [1-9] [0-9]*)'
NUMBER = '"-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+\\-]? [0-9]{1,2})?'
LISTED = 512  # multiples that are written out
LARGEST = 10**30  # a bound beyond it is taken for it
MOST_DECIMALS = 30
MOST_REMAINDERS = 128
_DECIMALS = 6  # that are written at least
_EXACT = 15  # digits that a 64-bit float keeps apart


class NumberError(ValueError):
    """What is said of a number cannot be followed, and why."""


@attrs.frozen
class Bound:
    """One end of a range of numbers."""

    value: Decimal
    open: bool  # the value itself does not belong to it


@attrs.frozen
class NumberRange:
    """What is said of a number. `steps`: it is a multiple of each."""

    integer: bool = False
    low: Bound | None = None
    high: Bound | None = None
    steps: tuple[Decimal, ...] = ()
    excluded: frozenset[Decimal] = frozenset()


def number_rules(wanted: NumberRange, rules: RuleSet) -> list[str]:
    """Expressions of the numbers; none where there is none. Errors: NumberError."""
    return [
        expression
        for one in _without(wanted)
        if not _empty(one)
        for expression in _range(one, rules)
    ]


def _without(wanted: NumberRange) -> list[NumberRange]:
    """The ranges that are left between the excluded values."""
    found = [attrs.evolve(wanted, excluded=frozenset())]
    for value in sorted(wanted.excluded):
        bound = Bound(value, open=True)
        found = [
            half
            for one in found
            for half in (
                attrs.evolve(one, high=lowest(one.high, bound)),
                attrs.evolve(one, low=highest(one.low, bound)),
            )
        ]
        found = [one for one in found if not _empty(one)]
    return found


def lowest(first: Bound | None, second: Bound | None) -> Bound | None:
    """The upper bound that both keep."""
    both = [bound for bound in (first, second) if bound is not None]
    return min(both, key=lambda bound: (bound.value, not bound.open), default=None)


def highest(first: Bound | None, second: Bound | None) -> Bound | None:
    """The lower bound that both keep."""
    both = [bound for bound in (first, second) if bound is not None]
    return max(both, key=lambda bound: (bound.value, bound.open), default=None)


def _empty(wanted: NumberRange) -> bool:
    low, high = wanted.low, wanted.high
    if low is None or high is None:
        return False
    return low.value > high.value or (low.value == high.value and (low.open or high.open))


def _range(wanted: NumberRange, rules: RuleSet) -> list[str]:
    steps = [step for step in wanted.steps if not (wanted.integer and step == 1)]
    if len(steps) == 1 and not wanted.integer and _whole(steps[0]):
        return _range(attrs.evolve(wanted, integer=True), rules)
    if steps:
        return _multiples(attrs.evolve(wanted, steps=tuple(steps)), rules)
    if wanted.low is None and wanted.high is None:
        name, body = ("basic_integer", INTEGER) if wanted.integer else ("basic_number", NUMBER)
        return [rules.share(name, body)]
    return list(_signed(wanted, 0 if wanted.integer else _decimals(wanted)))


def _whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def _decimals(wanted: NumberRange) -> int:
    """So many that a reader who rounds to 64 bits keeps to open bounds."""
    bounds = [bound for bound in (wanted.low, wanted.high) if bound is not None]
    own = max(_places(bound.value) for bound in bounds)
    found = max(_DECIMALS, own)
    for bound in bounds:
        if bound.open:
            found = min(found, max(_EXACT - len(str(abs(int(bound.value)))), own))
    return found


def _places(value: Decimal) -> int:
    places = max(-int(value.normalize().as_tuple().exponent), 0)
    if places > MOST_DECIMALS:
        raise NumberError(f"has more than {MOST_DECIMALS} decimals")
    return places


def _multiples(wanted: NumberRange, rules: RuleSet) -> list[str]:
    listed = _listed(wanted)
    if listed is not None:
        return [either(literal(_plain(value)) for value in listed)] if listed else []
    if len(wanted.steps) > 1:
        raise NumberError("cannot be combined with another multipleOf without bounds on both sides")
    step = wanted.steps[0]
    if step == 1:
        return _range(attrs.evolve(wanted, integer=True, steps=()), rules)
    if _whole(step):
        return _by_remainder(wanted, int(step), rules)
    places = _places(step)
    if step == Decimal(1).scaleb(-places) and not wanted.integer:
        return _by_decimals(wanted, places)
    raise NumberError("needs a minimum and a maximum with few multiples between them")


def _listed(wanted: NumberRange) -> list[Decimal] | None:
    """All that there are, where both bounds are said and few lie between them."""
    if wanted.low is None or wanted.high is None:
        return None
    step = max(wanted.steps)
    low, high = wanted.low.value, wanted.high.value
    if (high - low) / step > LISTED:
        return None
    first = (low / step).to_integral_value("ROUND_CEILING") * step
    count = int((high - first) / step) + 1 if high >= first else 0
    values = (first + step * at for at in range(count))
    return [
        value
        for value in values
        if not (wanted.integer and not _whole(value))
        and all(value % other == 0 for other in wanted.steps)
        and not (wanted.low.open and value == low)
        and not (wanted.high.open and value == high)
    ]


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _by_decimals(wanted: NumberRange, places: int) -> list[str]:
    if wanted.low is None and wanted.high is None:
        return [f'"-"? ("0" | [1-9] [0-9]*) ("." [0-9]{between_times(1, places)})?']
    for bound in (wanted.low, wanted.high):
        if bound is not None and _places(bound.value) > places:
            raise NumberError("has fewer decimals than a bound")
    return list(_signed(wanted, places))


def _by_remainder(wanted: NumberRange, step: int, rules: RuleSet) -> list[str]:
    """Multiples of an integer by the remainder of the digits so far."""
    if step > MOST_REMAINDERS:
        raise NumberError(
            f"is beyond {MOST_REMAINDERS}, and needs a minimum and a maximum with few multiples"
            " between them"
        )
    for bound, outward in ((wanted.low, step), (wanted.high, -step)):
        near = bound is None or abs(bound.value) < step
        if not near and bound != Bound(Decimal(outward), open=False):
            raise NumberError("needs a minimum and a maximum with few multiples between them")
    names = [rules.name() for _ in range(step)]
    for remainder, name in enumerate(names):
        options = [f'"{digit}" {names[(remainder * 10 + digit) % step]}' for digit in range(10)]
        rules.define(name, " | ".join((*options, *(['""'] if remainder == 0 else []))))
    some = rules.add(" | ".join(f'"{digit}" {names[digit % step]}' for digit in range(1, 10)))
    found = [some] if wanted.high is None else []
    if wanted.low is None:
        found.append(sequence('"-"', some))
    zero = Bound(Decimal(0), open=False)
    if not _empty(
        attrs.evolve(wanted, low=highest(wanted.low, zero), high=lowest(wanted.high, zero))
    ):
        found.append('"0"')
    return found


def _signed(wanted: NumberRange, places: int) -> Iterator[str]:
    """The range as one of negative numbers and one of others."""
    least, largest = Bound(Decimal(-LARGEST), open=False), Bound(Decimal(LARGEST), open=False)
    low, high = wanted.low or least, wanted.high or largest
    if low.value > LARGEST or high.value < -LARGEST:
        raise NumberError("is beyond a number of 30 digits")
    low, high = max(low, least, key=_value), min(high, largest, key=_value)
    zero = Bound(Decimal(0), open=False)
    unbounded = wanted.low is None, wanted.high is None
    if low.value < 0:
        top = _minus(high) if high.value <= 0 else Bound(Decimal(0), open=True)
        yield from _written('"-"', top, None if unbounded[0] else _minus(low), places)
    if high.value > 0 or (high.value == 0 and not high.open):
        start = low if low.value >= 0 else zero
        yield from _written('""', start, None if unbounded[1] else high, places)


def _value(bound: Bound) -> Decimal:
    return bound.value


def _minus(bound: Bound) -> Bound:
    return Bound(-bound.value, bound.open)


def _written(sign: str, low: Bound, high: Bound | None, places: int) -> Iterator[str]:
    """Numbers from `low` on, which is not negative, up to `high`."""
    low_whole, low_tail = _split(low.value)
    high_whole, high_tail = (None, "") if high is None else _split(high.value)
    any_tail = f'("." [0-9]{between_times(1, places)})?' if places else '""'
    if low_whole == high_whole and high is not None:
        found = _tails(_between(low_tail, low, high_tail, high, places))
        if found:
            yield sequence(sign, f'"{low_whole}"', found)
        return
    if low_tail or low.open:
        found = _tails(_from(low_tail, low.open, places))
        if found:
            yield sequence(sign, f'"{low_whole}"', found)
        low_whole += 1
    whole = _wholes(low_whole, None if high_whole is None else high_whole - 1)
    if whole:
        yield sequence(sign, either(whole), any_tail)
    if high is not None and high_whole is not None:
        found = _tails(_upto(high_tail, high.open, places))
        if found:
            yield sequence(sign, f'"{high_whole}"', found)


def _split(value: Decimal) -> tuple[int, str]:
    """The whole part, and the decimals without zeros at the end."""
    text = format(value, "f")
    whole, _, tail = text.partition(".")
    return int(whole), tail.rstrip("0")


def _tails(options: list[str]) -> str:
    """What may follow a whole part: decimals of these expressions, the empty one for none."""
    some = [f'"." {option}' for option in options if option]
    if len(some) < len(options):
        some.append('""')
    return either(some) if some else ""


def _digits(least: int, most: int) -> str:
    return f"[0-9]{between_times(least, most)}"


def _any_after(prefix: Sequence[str], room: int) -> str:
    """Digits, then any others."""
    return sequence(*prefix, *([_digits(0, room)] if room else []))


def _from(tail: str, open: bool, room: int) -> list[str]:
    """Decimals that are at least `tail`, more than it where it is open."""
    found: list[str] = []
    prefix: list[str] = []
    for digit in tail:
        if room - len(prefix) < 1:
            return found
        if digit != "9":
            found.append(_any_after([*prefix, f"[{int(digit) + 1}-9]"], room - len(prefix) - 1))
        prefix.append(f'"{digit}"')
    room -= len(prefix)
    if not open:
        exact = [_any_after(prefix, room)] if prefix else ["", _digits(1, room)][: 1 + bool(room)]
        return found + exact
    for zeros in range(room):
        before = [*prefix, *(['"' + "0" * zeros + '"'] if zeros else [])]
        found.append(_any_after([*before, "[1-9]"], room - zeros - 1))
    return found


def _upto(tail: str, open: bool, room: int) -> list[str]:
    """Decimals that are at most `tail`, less than it where it is open."""
    if not tail:
        return [] if open else _any_zeros([], 0, room)
    found: list[str] = [""]
    prefix: list[str] = []
    for at, digit in enumerate(tail):
        if room - at < 1:
            return found
        if digit != "0":
            found.append(_any_after([*prefix, f"[0-{int(digit) - 1}]"], room - at - 1))
        prefix.append(f'"{digit}"')
        if at + 1 < len(tail):
            found.append(sequence(*prefix))
    if not open:
        zeros = room - len(tail)
        found.append(sequence(*prefix, *([f'"0"{between_times(0, zeros)}'] if zeros else [])))
    return found


def _between(low_tail: str, low: Bound, high_tail: str, high: Bound, room: int) -> list[str]:
    """Decimals between two of the same whole part."""
    length = max(len(low_tail), len(high_tail))
    first, last = low_tail.ljust(length, "0"), high_tail.ljust(length, "0")
    same = next((at for at in range(length) if first[at] != last[at]), length)
    prefix = [f'"{digit}"' for digit in first[:same]]
    if same == length:
        zeros = room - length
        exact = _any_zeros([f'"{digit}"' for digit in low_tail], len(low_tail), room)
        return exact if zeros >= 0 and not (low.open or high.open) else []
    inner, left = [], room - same - 1
    if int(last[same]) - int(first[same]) > 1:
        inner.append(_any_after([f"[{int(first[same]) + 1}-{int(last[same]) - 1}]"], left))
    rest = first[same + 1 :].rstrip("0")
    upper = last[same + 1 :].rstrip("0")
    for digit, tails in (
        (first[same], _from(rest, low.open, left)),
        (last[same], _upto(upper, high.open, left)),
    ):
        inner += [sequence(f'"{digit}"', *filter(None, (tail,))) for tail in tails]
    found = [sequence(*prefix, option) for option in inner]
    return found + (_any_zeros([], 0, room) if not low_tail and not low.open else [])


def _any_zeros(prefix: Sequence[str], used: int, room: int) -> list[str]:
    if prefix:
        zeros = room - used
        return [sequence(*prefix, *([f'"0"{between_times(0, zeros)}'] if zeros else []))]
    return ["", *([f'"0"{between_times(1, room)}'] if room else [])]


def _wholes(low: int, high: int | None) -> list[str]:
    """Whole numbers, not negative, from `low` to `high`."""
    if high is not None and high < low:
        return []
    found = []
    for length in range(len(str(low)), len(str(high if high is not None else low)) + 1):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        last = 10**length - 1 if high is None else min(high, 10**length - 1)
        found += _same_length(str(first), str(last))
    if high is None:
        found.append(f"[1-9] [0-9]{{{len(str(low))},}}")
    return found


def _same_length(low: str, high: str) -> list[str]:
    """Numbers of so many digits between these."""
    if not low:
        return ['""']
    if low[0] == high[0]:
        return [sequence(f'"{low[0]}"', rest) for rest in _same_length(low[1:], high[1:])]
    left = len(low) - 1
    rest = f"[0-9]{{{left}}}" if left else '""'
    first, last = int(low[0]), int(high[0])
    found = []
    if low[1:].strip("0"):
        found += [sequence(f'"{first}"', tail) for tail in _same_length(low[1:], "9" * left)]
        first += 1
    ending = []
    if high[1:].strip("9"):
        ending = [sequence(f'"{last}"', tail) for tail in _same_length("0" * left, high[1:])]
        last -= 1
    if first <= last:
        found.append(sequence(f"[{first}-{last}]", rest))
    return found + ending
