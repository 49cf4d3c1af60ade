"""What is left of a schema when it is taken apart: values of one type each, and what is said of
them.
"""

from __future__ import annotations

import attrs

from openllm.answer.schema.document import Goal
from openllm.answer.schema.numbers import NumberRange
from openllm.answer.schema.text.automaton import Wanted


@attrs.frozen
class Listed:
    """One of several values, as JSON."""

    values: tuple[str, ...]


@attrs.frozen
class Number:
    """A number; `case` is what says so."""

    wanted: NumberRange
    case: Goal


@attrs.frozen
class TextShape:
    """A string."""

    wanted: Wanted
    case: Goal


@attrs.frozen
class Property:
    """One property that an object may have, or must."""

    name: str
    goal: Goal
    required: bool


@attrs.frozen
class Free:
    """Properties whose names are not listed, and what their values follow."""

    name: Wanted
    goal: Goal


@attrs.frozen
class Object:
    """An object: its properties in this order, then any number of others."""

    properties: tuple[Property, ...]
    free: tuple[Free, ...]
    least: int
    most: int | None
    case: Goal


@attrs.frozen
class Array:
    """An array: these items, then any number of others; `rest` None: no others."""

    prefix: tuple[Goal, ...]
    rest: Goal | None
    least: int
    most: int | None
    contains: Goal | None  # what one of the items follows at least
    unique: bool
    case: Goal


Shape = Listed | Number | TextShape | Object | Array
