"""Tools as a conversation declares them: families from tools.yaml under changing names and schemas,
and tools that are made up as they are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .values import invented, value

TEXTS: Mapping[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "tools.yaml").read_text(encoding="utf-8")
)
BARE = ("integer", "number")  # JSON types whose values have no quotes
# what a tool that is made up may look up its things by
KEYS = ("city", "person", "item", "id", "number", "text")
PLAIN_NAMES = ("name", "id", "x", "input", "query", "value", "key", "arg")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a declared tool."""

    name: str
    kind: str  # of its values, in values.KINDS; "" for one with choices
    type: str  # JSON's
    about: str = ""
    choices: tuple[str, ...] = ()
    said: str = ""  # how a question names a choice
    required: bool = True

    def schema(self, rng: random.Random) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type}
        if self.choices:
            found["enum"] = list(self.choices)
        if self.about:
            found["description"] = self.about
        if rng.random() < 0.06:
            found = {"title": self.name.title(), **found}
        return found


@dataclass(frozen=True)
class Tool:
    """A tool as one conversation declares it, and what may be asked of it."""

    name: str
    about: str
    parameters: tuple[Parameter, ...]
    subjects: tuple[str, ...]  # none: it does something, and tells nothing
    asks: tuple[str, ...]
    orders: tuple[str, ...]
    result: str  # the kind of its results

    def declared(self, rng: random.Random) -> dict[str, Any]:
        """The inner object of OpenAI's declaration, in one of the forms that clients send."""
        properties = {parameter.name: parameter.schema(rng) for parameter in self.parameters}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        required = [parameter.name for parameter in self.parameters if parameter.required]
        if required or rng.random() < 0.3:
            schema["required"] = required
        if rng.random() < 0.3:
            schema["additionalProperties"] = False
        if rng.random() < 0.12:
            schema = dict(sorted(schema.items()))
        found: dict[str, Any] = {"name": self.name}
        if self.about:
            found["description"] = self.about
        found["parameters"] = schema
        if rng.random() < 0.12:
            found["strict"] = True
        return found

    @property
    def words(self) -> frozenset[str]:
        """What a question for this tool may speak of."""
        texts = (*self.subjects, *self.asks, *self.orders, self.name.replace("_", " "))
        return frozenset(word for text in texts for word in text.lower().split() if len(word) > 3)


def draw_tools(rng: random.Random, count: int) -> list[Tool]:
    """Different tools, of different families."""
    made_up = sum(rng.random() < 0.5 for _ in range(count))
    families = rng.sample(TEXTS["families"], count - made_up)
    found = [of_family(rng, family) for family in families]
    nouns = rng.sample(TEXTS["nouns"], made_up)
    found += [made_up_tool(rng, noun) for noun in nouns]
    named = {tool.name: tool for tool in found}
    tools = list(named.values())
    rng.shuffle(tools)
    return tools


def of_family(rng: random.Random, family: Mapping[str, Any]) -> Tool:
    parameters: list[Parameter] = []
    taken: set[str] = set()
    for row in family["parameters"]:
        if "choices" in row and rng.random() < 0.6:
            continue  # one that may as well be missing
        free = [name for name in row["names"] if name not in taken]
        parameter = _parameter(rng, row, free)
        taken.add(parameter.name)
        parameters.append(parameter)
    return Tool(
        rng.choice(family["names"]),
        rng.choice(family["about"]) if rng.random() < 0.92 else "",
        tuple(parameters),
        tuple(family.get("subjects", ())),
        tuple(family.get("asks", ())),
        tuple(family.get("orders", ())),
        family["result"],
    )


def _parameter(rng: random.Random, row: Mapping[str, Any], names: Sequence[str]) -> Parameter:
    name = rng.choice(names)
    about = rng.choice(row["about"]) if rng.random() < 0.5 else ""
    if "choices" in row:
        choices = rng.sample(row["choices"], len(row["choices"]))
        required = rng.random() < 0.4
        return Parameter(name, "", "string", about, tuple(choices), row["said"], required)
    kind = row["kind"]
    kinds_type = rng.choice((*BARE, "integer")) if kind == "number" else "string"
    return Parameter(name, kind, kinds_type, about)


def made_up_tool(rng: random.Random, noun: str) -> Tool:
    """A tool for the `noun` of a thing, of nothing in particular, or one that does something to a
    thing.
    """
    if rng.random() < 0.35:
        noun = invented(rng)
    thing = invented(rng) if rng.random() < 0.2 else rng.choice(TEXTS["things"])
    draw = rng.random()
    if draw < 0.1:
        about = rng.choice((f"The {noun}.", f"Get the {noun}.", f"Returns the {noun} now.", ""))
        return Tool(_name(rng, noun, ""), about, (), (f"the {noun}",), (), (), _any_kind(rng))
    key = _key(rng, thing)
    if draw < 0.28:
        return _doing(rng, thing, key)
    subjects = [f"the {noun} of {thing} {{0}}", f"the {noun} of the {thing} {{0}}",
                f"the {noun} of {{0}}", f"{{0}}'s {noun}", f"the {noun} for {{0}}"]  # fmt: skip
    parameters = [key]
    if draw < 0.42:
        place = rng.choice([word for word in TEXTS["places"] if word != thing])
        second = Parameter(place, rng.choice(KEYS[:3]), "string", _about(rng, place))
        parameters.append(second)
        subjects = [f"{subject} in {place} {{1}}" for subject in subjects[:3]]
        subjects += [f"{subject.rpartition(' ')[0]} {{1}}" for subject in subjects]
    about = rng.choice((f"The {noun} of a {thing}.", f"Get the {noun} of a {thing}.", "",
                        f"Returns the {noun} of the given {thing}.",
                        f"Look up the {noun} of a {thing}"))  # fmt: skip
    asks = (f"which {noun} does {thing} {{0}} have", f"which {noun} has {{0}}")
    asks = asks if len(parameters) == 1 else ()
    return Tool(
        _name(rng, noun, thing), about, tuple(parameters), tuple(subjects), asks, (), _any_kind(rng)
    )


def _doing(rng: random.Random, thing: str, key: Parameter) -> Tool:
    action = invented(rng) if rng.random() < 0.2 else rng.choice(TEXTS["actions"])
    orders = (f"{action} {thing} {{0}}", f"{action} the {thing} {{0}}", f"{action} {{0}}",
              f"please {action} the {thing} {{0}}", f"can you {action} {thing} {{0}}",
              f"I want you to {action} {{0}}")  # fmt: skip
    about = rng.choice(
        (f"{action.title()} a {thing}.", f"{action.title()}s the given {thing}.", "")
    )
    name = rng.choice((f"{action}_{thing}", f"{action}_{thing}", action, action + thing.title()))
    return Tool(name, about, (key,), (), (), orders, "done")


def _key(rng: random.Random, thing: str) -> Parameter:
    kind = rng.choice(KEYS)
    name = rng.choice((thing, thing, f"{thing}_id", f"{thing}_name", *PLAIN_NAMES[:4]))
    if rng.random() < 0.12:
        name = rng.choice((*PLAIN_NAMES, invented(rng)))
    return Parameter(
        name, kind, rng.choice(BARE) if kind == "number" else "string", _about(rng, thing)
    )


def _about(rng: random.Random, thing: str) -> str:
    return rng.choice(("", "", f"The {thing}.", f"Which {thing}", f"Name of the {thing}"))


def _name(rng: random.Random, noun: str, thing: str) -> str:
    words = [word for word in (noun, thing) if word]
    end, camel = "_".join(words), "".join(word.title() for word in words)
    back = "_".join(reversed(words))
    plain = (f"get_{end}", f"{end}", back, f"get_{back}", f"find_{noun}", f"lookup_{noun}", noun,
             f"{noun}_of", f"get{camel}", f"fetch_{end}", f"get_{noun}", f"{noun}_tool",
             f"read-{noun}", f"{invented(rng)}_{noun}", f"{noun}_function")  # fmt: skip
    return rng.choice(plain)


def _any_kind(rng: random.Random) -> str:
    return rng.choice(("count", "price", "text", "decimal", "city", "person", "state", "date", "id",
                       "item", "clock", "degrees", "length"))  # fmt: skip


def draw_values(rng: random.Random, tool: Tool) -> list[str]:
    """A value as text for each parameter; for one with choices, "" where a question need not name
    it.
    """
    found = []
    for parameter in tool.parameters:
        if parameter.choices:
            found.append(rng.choice(parameter.choices) if rng.random() < 0.5 else "")
            continue
        text = value(rng, parameter.kind)
        found.append(text.lower() if rng.random() < 0.1 else text)
    return found
