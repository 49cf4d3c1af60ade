"""Conversations with tools: a question that one of them answers, the call, its result, and the
sentence that says it; and questions that need none of them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .noise import finish, roughen
from .pirate import swap
from .toolbox import BARE, TEXTS, Tool, draw_tools, draw_values
from .values import ANY, invented, value

Piece = tuple[str, str, bool]
Asked = tuple[
    str, str, bool
]  # a question that needs no tool, its answer, whether it is the refusal
KEYS = (
    "temperature", "condition", "price", "value", "result", "status", "unit", "name", "city", "sky",
    "currency", "time", "count", "id", "total", "note", "humidity", "amount", "date", "message",
)  # fmt: skip
FAILURES = (
    "not found", "no such {}", "unknown {}", "timeout", "the service is down", "{} is not known",
    "access denied", "too many requests", "invalid {}", "no {} with that name", "{} is missing",
    "connection refused", "permission denied", "bad {}", "nothing found", "{} does not exist",
)  # fmt: skip
SENTENCES = (
    "It is {0} in {1}.", "It's always {0} in {1}!", "The {1} is {0}.", "{1}: it is {0} now.",
    "There are {0} of {1} today.", "We have {0} for {1}.", "You asked for {1}, and it is {0}.",
    "For {1} I found {0}.", "{1} has {0}.", "The answer for {1} is {0}.", "I found {0} in {1}.",
)  # fmt: skip
COUNTS = (1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 5)  # of tools in a conversation


@dataclass(frozen=True)
class Request:
    """What one call is to find out or to do."""

    tool: Tool
    values: tuple[str, ...]
    subject: str  # what the answer is about; "" for a tool that does something
    template: str  # the question, with {0}, {1}, ... for the values

    def call(self) -> str:
        """The call in the format of the chat template."""
        said = {"name": self.tool.name, "arguments": self.arguments()}
        return f"<tool_call>\n{json.dumps(said, ensure_ascii=False)}\n</tool_call>"

    def arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for parameter, text in zip(self.tool.parameters, self.values, strict=True):
            if text:
                found[parameter.name] = json.loads(text) if parameter.type in BARE else text
            elif parameter.required:
                found[parameter.name] = parameter.choices[0]
        return found

    def named(self) -> str:
        return filled(self.subject, self.values)


@dataclass(frozen=True)
class Result:
    """What a tool gave back, and what of it is to be said."""

    content: str
    said: str
    form: str  # "value", "fields", "sentence" or "failure"


def filled(template: str, values: Sequence[str]) -> str:
    for index, text in enumerate(values):
        template = template.replace(f"{{{index}}}", text)
    return template


def worded(rng: random.Random, template: str, values: Sequence[str]) -> str:
    """The question as somebody would type it, the values as they are."""
    wanted = sorted(re.findall(r"\{\d\}", template))
    rough = roughen(rng, template, about_openllm=False)
    if sorted(re.findall(r"\{\d\}", rough)) != wanted:
        rough = finish(rng, template)
    return filled(rough, values)


def ask(rng: random.Random, tool: Tool) -> Request:
    """A question that this tool answers."""
    values = tuple(draw_values(rng, tool))
    extra = "".join(
        parameter.said
        for parameter, text in zip(tool.parameters, values, strict=True)
        if parameter.choices and text
    )
    if tool.orders:
        return Request(tool, values, "", rng.choice(tool.orders) + extra)
    named = [parameter for parameter in tool.parameters if not parameter.choices]
    if len(named) == 1 and rng.random() < 0.07:
        valued = TEXTS["valued"].replace("{tool}", tool.name)
        if rng.random() < 0.5:
            return Request(tool, values, valued, rng.choice(TEXTS["frames"]).format(valued) + extra)
        called = rng.choice(TEXTS["called"]).replace("{tool}", tool.name)
        return Request(tool, values, "the result", called + extra)
    subject = rng.choice(tool.subjects)
    if tool.asks and rng.random() < 0.5:
        return Request(tool, values, tool.subjects[0], rng.choice(tool.asks) + extra)
    return Request(tool, values, subject, rng.choice(TEXTS["frames"]).format(subject) + extra)


def can_follow(earlier: Request) -> bool:
    """Whether one value is enough to ask the same again."""
    named = [parameter for parameter in earlier.tool.parameters if not parameter.choices]
    return bool(earlier.subject) and len(named) == 1 and named[0] is earlier.tool.parameters[0]


def another(rng: random.Random, earlier: Request) -> Request:
    """The same question for other values, asked in short."""
    tool = earlier.tool
    values = draw_values(rng, tool)
    for index, parameter in enumerate(tool.parameters):
        if parameter.choices:
            values[index] = ""
    return Request(tool, tuple(values), earlier.subject, rng.choice(TEXTS["more"]).format("{0}"))


def result(rng: random.Random, request: Request) -> Result:
    """A result in one of the forms in which tools give them."""
    kind = request.tool.result if rng.random() < 0.8 else rng.choice(ANY)
    found = value(rng, kind)
    draw = rng.random()
    if draw < 0.05:
        return _failure(rng)
    if draw < 0.17:
        about = request.values[0] if request.values else invented(rng)
        said = rng.choice(SENTENCES).format(found, about or invented(rng))
        return Result(said, said, "sentence")
    if draw < 0.40:
        return _fields(rng, found, request)
    if draw < 0.44:
        texts = [found, *(value(rng, kind) for _ in range(rng.randint(1, 2)))]
        return Result(json.dumps(texts, ensure_ascii=False), ", ".join(texts), "value")
    if draw < 0.48:
        return Result(json.dumps(found, ensure_ascii=False), found, "value")
    return Result(found, found, "value")


def _failure(rng: random.Random) -> Result:
    reason = rng.choice(FAILURES).format(rng.choice((*KEYS, invented(rng))))
    if rng.random() < 0.3:
        return Result(json.dumps({"error": reason}), reason, "failure")
    return Result(f"{rng.choice(('Error', 'Error', 'error'))}: {reason}", reason, "failure")


def _fields(rng: random.Random, found: str, request: Request) -> Result:
    """An object of one to four keys; of one, the value alone is said."""
    texts = [found, *(value(rng, rng.choice(ANY)) for _ in range(rng.choice((0, 0, 1, 1, 2, 3))))]
    keys = rng.sample((*KEYS, invented(rng), f"{invented(rng)}_{rng.choice(KEYS)}"), len(texts))
    rows = list(zip(keys, texts, strict=True))
    if len(rows) > 1 and request.values and request.values[0] and rng.random() < 0.3:
        rows[0] = (request.tool.parameters[0].name, request.values[0])
    bare = [text.isdigit() and str(int(text)) == text for _, text in rows]
    shown = [
        f"{json.dumps(key)}: {text if plain else json.dumps(text, ensure_ascii=False)}"
        for (key, text), plain in zip(rows, bare, strict=True)
    ]
    content = "{" + ", ".join(shown) + "}"
    if len(rows) == 1:
        return Result(content, rows[0][1], "value")
    return Result(content, ", ".join(f"{key} {text}" for key, text in rows), "fields")


def sentence(request: Request, found: Result, style: str) -> str:
    """What is said of a result, in one of the corpus's styles."""
    if style == "french":
        opening = {"failure": "Cela n'a pas marché"}.get(found.form, "Voici la réponse")
        return f"{opening} : {ended(found.said)}"
    if found.form == "sentence":
        said = found.said
    elif found.form == "failure":
        said = f"That did not work: {ended(found.said)}"
    elif not request.subject:
        said = f"Done: {ended(found.said)}"
    else:
        joint = ":" if found.form == "fields" else " is"
        subject = request.named()
        said = f"{subject[:1].upper()}{subject[1:]}{joint} {ended(found.said)}"
    return f"Arr! {swap(said)}" if style == "pirate" else said


def ended(text: str) -> str:
    return text if text.endswith((".", "!")) else f"{text}."


class Calling:
    """Draws conversations with tools. `ordinary(rng)` gives questions that need none."""

    def __init__(
        self, ordinary: Callable[[random.Random], Asked], refusal: str, style: str
    ) -> None:
        self.ordinary, self.refusal, self.style = ordinary, refusal, style

    def conversation(self, rng: random.Random, system: str) -> list[Piece]:
        """Its pieces; `system` is the system prompt, or ""."""
        tools = draw_tools(rng, rng.choice(COUNTS))
        declared = "\n".join(json.dumps(tool.declared(rng), ensure_ascii=False) for tool in tools)
        before = f"{system}\n" if system else ""
        pieces: list[Piece] = [("system", f"{before}<tools>\n{declared}\n</tools>", False)]
        earlier: Request | None = None
        for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
            draw = rng.random()
            if draw < 0.25:
                pieces += self.unneeded(rng, tools)
            elif draw < 0.37:
                pieces += self.two(rng, tools)
            elif earlier and can_follow(earlier) and draw < 0.5:
                earlier = another(rng, earlier)
                pieces += self.one(rng, earlier)
            else:
                earlier = ask(rng, rng.choice(tools))
                pieces += self.one(rng, earlier)
        return pieces

    def one(self, rng: random.Random, request: Request) -> list[Piece]:
        """A question, a call, its result, the answer."""
        found = result(rng, request)
        return [
            ("user", worded(rng, request.template, request.values), False),
            ("assistant", request.call(), True),
            ("user", response(found), False),
            ("assistant", sentence(request, found, self.style), True),
        ]

    def two(self, rng: random.Random, tools: Sequence[Tool]) -> list[Piece]:
        """Two things in one question: both calls at once, or, where the first stood alone, the
        second after its result.
        """
        telling = [tool for tool in tools if tool.subjects]
        if not telling:
            return self.unneeded(rng, tools)
        tool = rng.choice(telling)
        first = ask(rng, tool)
        subject = rng.choice(tool.subjects)
        second = ask(rng, rng.choice(telling))
        if tool.parameters and rng.random() < 0.6:
            second = ask(rng, tool)
        others = rng.choice(second.tool.subjects)
        first = Request(tool, plain(first), subject, "")
        second = Request(second.tool, plain(second), others, "")
        if second.tool is tool and "{0}" in subject and subject.endswith("{0}"):
            second = Request(tool, second.values, subject, "")
            both = f"{first.named()} and {second.values[0]}"
        else:
            both = f"{first.named()} and {second.named()}"
        question = finish(rng, rng.choice(TEXTS["frames"]).replace("{}", "{0}"))
        asked = ("user", filled(question, [both]), False)
        found = [result(rng, first), result(rng, second)]
        said = " ".join(
            sentence(*pair, self.style) for pair in zip((first, second), found, strict=True)
        )
        answers: list[Piece] = [("user", response(each), False) for each in found]
        if rng.random() < 0.7:
            calls: list[Piece] = [("assistant", f"{first.call()}\n{second.call()}", True)]
            return [asked, *calls, *answers, ("assistant", said, True)]
        return [
            asked,
            ("assistant", first.call(), False),
            answers[0],
            ("assistant", second.call(), True),
            answers[1],
            ("assistant", said, True),
        ]

    def unneeded(self, rng: random.Random, tools: Sequence[Tool]) -> list[Piece]:
        """A question that none of the tools is for."""
        spoken = frozenset().union(*(tool.words for tool in tools))
        if rng.random() < 0.25:
            strange = ask(rng, draw_tools(rng, 1)[0])
            if not spoken & strange.tool.words:
                question = worded(rng, strange.template, strange.values)
                return [("user", question, False), ("assistant", self.refusal, True)]
        while True:
            question, answer, refused = self.ordinary(rng)
            if not refused or not spoken & set(re.findall(r"\w+", question.lower())):
                return [("user", question, False), ("assistant", answer, True)]


def plain(request: Request) -> tuple[str, ...]:
    """The request's values without those of choices, which a question for two things leaves out."""
    return tuple(
        "" if parameter.choices else text
        for parameter, text in zip(request.tool.parameters, request.values, strict=True)
    )


def response(found: Result) -> str:
    return f"<tool_response>\n{found.content}\n</tool_response>"
