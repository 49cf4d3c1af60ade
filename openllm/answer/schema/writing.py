"""A JSON schema to the grammar of the values that follow it, or its refusal.

Values are written on one line, with one space behind each comma and colon, the properties of an
object in the schema's order. A number whose range is bounded has no exponent.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext
from functools import lru_cache

from openllm.answer.grammar import between_times, optional, sequence
from openllm.answer.schema.document import Goal, TooLarge, refuse
from openllm.answer.schema.explored import DIGITS, Explored, contained, explored
from openllm.answer.schema.merging import refuse_pattern, who
from openllm.answer.schema.numbers import NUMBER, NumberError, number_rules
from openllm.answer.schema.rules import RuleSet
from openllm.answer.schema.shapes import Array, Listed, Number, Object, Shape, TextShape
from openllm.answer.schema.text.automaton import Wanted
from openllm.answer.schema.text.expression import (
    CHARACTER,
    CODE,
    STRING,
    TextWriter,
    exact,
    quoted,
)
from openllm.answer.schema.text.pattern import PatternError
from openllm.errors import InvalidRequest

MOST_UNIQUE = 6  # values of which each item of an array is another one
MOST_COUNTED = 4_000  # states of an object whose properties are counted
_NUMBERS = ("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COMMA, _COLON = '", "', '": "'


@lru_cache(maxsize=256)
def json_grammar(schema: str) -> str:
    """The grammar, with the rule `root`, of a JSON schema given as text. Bounded, but not for an
    event loop.

    Errors: InvalidRequest for a schema that cannot be kept, naming the keyword and where it stands.
    """
    return within_bounds(schema, lambda found: GrammarWriter(found).text())


def within_bounds(schema: str, write: Callable[[Explored], str]) -> str:
    """The grammar that is written of a schema. Errors: InvalidRequest."""
    try:
        found = explored(schema)
        with localcontext(prec=DIGITS):
            grammar = write(found)
        grammar.encode()
    except (TooLarge, RecursionError) as error:
        why = str(error) if isinstance(error, TooLarge) else "it nests too deep"
        raise InvalidRequest(
            f"The schema is too large: {why}.", hint="Make it smaller.", param="structure"
        ) from None
    except UnicodeEncodeError:
        raise InvalidRequest(
            "The schema has half a surrogate pair in a text.", hint="Correct it.", param="structure"
        ) from None
    return grammar


class GrammarWriter:
    """Writes a rule for each goal."""

    def __init__(self, found: Explored) -> None:
        self.explored = found
        self.rules = RuleSet()
        self._names: dict[Goal, str] = {}
        self._todo: list[Goal] = []

    def text(self) -> str:
        """The whole grammar. Errors: InvalidRequest, TooLarge."""
        root = self.explored.root
        if not self.explored.can(root):
            raise InvalidRequest(
                "The schema cannot be kept: no value follows it.",
                hint="Make it allow something.",
                param="structure",
            )
        return self.whole(self.goal(root))

    def whole(self, root: str) -> str:
        """The grammar of what the expression `root` allows, with the rules of all its goals."""
        while self._todo:
            goal = self._todo.pop()
            self.rules.define(self._names[goal], " | ".join(self._options(goal)) or _never())
        return self.rules.text(root)

    def goal(self, goal: Goal) -> str:
        """The rule of a goal."""
        if not goal:
            return self._any()
        if goal not in self._names:
            self._names[goal] = self.rules.name()
            self._todo.append(goal)
        return self._names[goal]

    def _options(self, goal: Goal) -> list[str]:
        shapes = filter(self.explored.can_shape, self.explored.shapes[goal])
        return [option for shape in shapes for option in self.shape(shape)]

    def shape(self, shape: Shape) -> list[str]:
        """Expressions of the values of a shape."""
        if isinstance(shape, Listed):
            return [exact(value) for value in shape.values]
        if isinstance(shape, Number):
            return self._number(shape)
        if isinstance(shape, TextShape):
            found = self._string(shape.wanted, shape.case)
            return [found] if found else []
        return self._object(shape) if isinstance(shape, Object) else self._array(shape)

    def _number(self, shape: Number) -> list[str]:
        try:
            return number_rules(shape.wanted, self.rules)
        except NumberError as error:
            keyword = next(
                word for word in _NUMBERS if any(place.has(word) for place in shape.case)
            )
            refuse(who(shape.case, keyword), keyword, str(error), "Take other bounds.")

    def _string(self, wanted: Wanted, case: Goal) -> str | None:
        if wanted == Wanted():
            return self.any_string()
        try:
            return self.string(wanted)
        except PatternError as error:
            refuse_pattern(case, error)
            return None

    def string(self, wanted: Wanted) -> str | None:
        """The expression of a string that something is said of; None where there is none. Errors:
        PatternError.
        """
        return TextWriter(self.rules).text(wanted)

    def any_string(self) -> str:
        """The rule of a string that nothing is said of."""
        self.rules.share("basic_character", CHARACTER)
        self.rules.share("basic_code", CODE)
        return self.rules.share("basic_string", STRING)

    def _any(self) -> str:
        text = self.any_string()
        self.rules.share("basic_number", NUMBER)
        pair = self.rules.share("basic_pair", sequence(text, _COLON, "basic_any"))
        pairs, items = (optional(f"{one} ({_COMMA} {one})*") for one in (pair, "basic_any"))
        self.rules.share("basic_object", sequence('"{"', pairs, '"}"'))
        self.rules.share("basic_array", sequence('"["', items, '"]"'))
        others = '"true" | "false" | "null"'
        body = f"{text} | basic_number | basic_object | basic_array | {others}"
        return self.rules.share("basic_any", body)

    def _object(self, shape: Object) -> list[str]:
        if shape == Object((), (), 0, None, shape.case):
            return ['"{}"']
        inside = _Pairs(shape, self._pairs(shape), self._free(shape)).written(self.rules)
        return [] if inside is None else [sequence('"{"', inside, '"}"')]

    def _pairs(self, shape: Object) -> list[tuple[str, bool]]:
        """The named properties, and whether each must be there."""
        return [
            (sequence(quoted(one.name), _COLON, self.goal(one.goal)), one.required)
            for one in shape.properties
            if self.explored.can(one.goal)
        ]

    def _free(self, shape: Object) -> str | None:
        """A property with a name that is not listed."""
        options = []
        for free in shape.free:
            if self.explored.can(free.goal):
                name = self._string(free.name, shape.case)
                if name is not None:
                    options.append(sequence(name, _COLON, self.goal(free.goal)))
        return self.rules.add(" | ".join(options)) if options else None

    def _array(self, shape: Array) -> list[str]:
        if shape.unique and (shape.most is None or shape.most > 1):
            return self._unique(shape)
        if shape.contains is not None:
            return self._containing(shape)
        return [sequence('"["', self._items(shape), '"]"')]

    def _items(self, shape: Array) -> str:
        """Items one by one, then the rest, each rule what may follow an item."""
        prefix = shape.prefix if shape.most is None else shape.prefix[: shape.most]
        dead = [at for at, goal in enumerate(prefix) if not self.explored.can(goal)]
        prefix, cut = prefix[: min(dead, default=len(prefix))], bool(dead)
        length = len(prefix)
        rest = None
        if shape.rest is not None and self.explored.can(shape.rest) and not cut:
            rest = self.goal(shape.rest)
        most = None if shape.most is None else shape.most - length
        after = '""'
        if rest is not None and most != 0:
            if not prefix:
                more = between_times(max(shape.least - 1, 0), None if most is None else most - 1)
                items = f"{rest} ({_COMMA} {rest}){more}"
                return items if shape.least else optional(items)
            after = f"({_COMMA} {rest}){between_times(max(shape.least - length, 0), most)}"
        for at in reversed(range(length)):
            comma = [_COMMA] if at else []
            item = sequence(*comma, self.goal(prefix[at]), after)
            after = self.rules.add(item if at < shape.least else f'{item} | ""')
        return after

    def _containing(self, shape: Array) -> list[str]:
        place = who(shape.case, "contains")
        if shape.prefix or shape.most is not None or shape.least > 1 or shape.rest is None:
            why = "is followed only where the number of items is not bounded"
            refuse(place, "contains", why, "Say it with prefixItems.")
        item, wanted = self.goal(shape.rest), self.goal(contained(shape))
        return [f'"[" ({item} {_COMMA})* {wanted} ({_COMMA} {item})* "]"']

    def _unique(self, shape: Array) -> list[str]:
        """Each choice of values that are left is a rule of what may follow."""
        values: list[str] = []
        rest = shape.rest if shape.rest is not None else ()
        listed = self.explored.shapes.get(rest, ())
        if len(listed) == 1 and isinstance(listed[0], Listed):
            values = list(listed[0].values)
        few = 0 < len(values) <= MOST_UNIQUE
        if shape.prefix or shape.contains is not None or not few:
            why = f"is followed only where the items are of at most {MOST_UNIQUE} listed values"
            refuse(who(shape.case, "uniqueItems"), "uniqueItems", why, "Leave it out.")
        if shape.least > len(values):
            return []
        after = {0: '""'}  # by the values that are left, as bits
        for left in range(1, 2 ** len(values)):
            came = len(values) - left.bit_count()
            options = [] if came < shape.least else ['""']
            if shape.most is None or came < shape.most:
                for at, value in enumerate(values):
                    if left >> at & 1:
                        comma = [_COMMA] if came else []
                        options.append(sequence(*comma, exact(value), after[left & ~(1 << at)]))
            after[left] = self.rules.add(" | ".join(options))
        return [sequence('"["', after[2 ** len(values) - 1], '"]"')]


class _Pairs:
    """The inside of an object: named pairs in their order, then others."""

    def __init__(self, shape: Object, named: list[tuple[str, bool]], free: str | None) -> None:
        self._shape, self._named, self._free = shape, named, free
        self._counts = shape.least > sum(needed for _, needed in named) or shape.most is not None

    def written(self, rules: RuleSet) -> str | None:
        """The expression; None where no object is possible."""
        count = len(self._named)
        following: dict[tuple[int, bool], str | None] = {
            key: self._rest(*key) for key in self._states(count)
        }
        for at in reversed(range(count)):
            pair, needed = self._named[at]
            earlier: dict[tuple[int, bool], str | None] = {}
            for came, begun in self._states(at):
                taken = following.get((came + self._counts, True))
                left = None if needed else following[came, begun]
                comma = [_COMMA] if begun else []
                options = [] if taken is None else [sequence(*comma, pair, taken)]
                options += [] if left is None else [left]
                earlier[came, begun] = rules.add(" | ".join(options)) if options else None
            following = earlier
        return following[0, False]

    def _states(self, at: int) -> list[tuple[int, bool]]:
        """How many pairs may have come before the named one at that place, and whether any has."""
        if not self._counts:
            return [(0, False), *([(0, True)] if at else [])]
        if len(self._named) ** 2 > MOST_COUNTED:
            place = who(self._shape.case, self._keyword())
            refuse(place, self._keyword(), "is counted among too many properties", "Leave it out.")
        return [(came, came > 0) for came in range(at + 1)]

    def _keyword(self) -> str:
        has_most = self._shape.most is not None
        return "maxProperties" if has_most else "minProperties"

    def _rest(self, came: int, begun: bool) -> str | None:
        """Pairs of other names, after so many."""
        least = max(self._shape.least - came, 0) if self._counts else 0
        most = None if self._shape.most is None else self._shape.most - came
        if (most is not None and (most < 0 or least > most)) or (least and self._free is None):
            return None
        if self._free is None or most == 0:
            return '""'
        if least > 1:
            why = "of more than one property without a name cannot be followed: a name may come"
            place = who(self._shape.case, "minProperties")
            refuse(place, "minProperties", f"{why} twice", "Name them, and require them.")
        if begun:
            return f"({_COMMA} {self._free}){between_times(least, most)}"
        more = between_times(0, None if most is None else most - 1)
        pairs = f"{self._free} ({_COMMA} {self._free}){more}"
        return pairs if least else optional(pairs)


def _never() -> str:
    """A rule that nothing matches cannot be written; `Explored.can` leaves such goals out."""
    raise InvalidRequest(
        "The schema cannot be kept: no value follows a part of it.",
        hint="Make it allow something.",
        param="structure",
    )
