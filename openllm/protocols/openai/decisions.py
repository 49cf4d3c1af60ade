"""POST /v1/decisions: questions about an input, answered with probabilities: whether something is
true, which choice is right, how high something scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import NotFound, UnsupportedFeature
from openllm.http.body.conversation import read_template_kwargs, read_text_content
from openllm.http.body.fields import Fields, required
from openllm.http.catalog import Catalog
from openllm.http.deciding import Decision, decide
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.prompt.messages import images_of
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.messages import NO_EFFORT, with_effort
from openllm.protocols.openai.responses.items import messages_of, read_items
from openllm.protocols.openai.responses.store import Item
from openllm.protocols.openai.responses.wire import usage_of
from openllm.types import Conversation

PATH = "/v1/decisions"
# As the vendor has them.
MOST_QUESTIONS = 400
LEAST_OPTIONS, MOST_OPTIONS = 2, 255  # choices, or levels, of a question
PREDICATE, CHOICE, SCORE = KINDS = ("predicate", "choice", "score")
MAX_NAME = 256  # characters
# Where a question's answers stand, and what says the value of one.
_OPTIONS: Mapping[str, tuple[str, str]] = {CHOICE: ("choices", "value"), SCORE: ("levels", "label")}
_OR_BOOLEAN: Mapping[str, str] = {"value": " or a boolean", "label": ""}
_ANSWERS: tuple[str, ...] = ("Yes", "No")
# What stands around the instructions of a question.
_ASKED: Mapping[str, str] = {
    PREDICATE: "Is this true of what stands above?\n{}",
    CHOICE: "{}",
    SCORE: "{}\nThe levels, in their order:",
}


@attrs.frozen
class DecisionQuestion:
    """One of the questions of a request."""

    kind: str
    name: str | None
    decision: Decision
    values: Sequence[str | bool]  # of choices, or labels of levels, the lowest first

    def answer(self, chances: Sequence[float]) -> dict[str, Any]:
        """The answer in the vendor's shape; `chances` are the probabilities of `values`."""
        head = {"type": self.kind, "name": self.name}
        if self.kind == PREDICATE:
            return {**head, "probability": chances[0]}
        best = max(range(len(chances)), key=chances.__getitem__)
        pairs = zip(self.values, chances, strict=True)
        if self.kind == CHOICE:
            return {
                **head,
                "choice": self.values[best],
                "confidence": chances[best],
                "probabilities": [{"value": value, "probability": one} for value, one in pairs],
            }
        return {
            **head,
            "score": sum(at * one for at, one in enumerate(chances)),
            "confidence": chances[best],
            "probabilities": [
                {"value": at, "label": label, "probability": one}
                for at, (label, one) in enumerate(pairs)
            ],
        }


@attrs.frozen
class DecisionsRequest:
    """A parsed body."""

    model: str | None
    asked: Conversation
    questions: list[DecisionQuestion]


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def answer(exchange: Exchange) -> None:
        request = await exchange.read(read_decisions, settings)
        target = catalog.running(request.model, "generate")
        decisions = [question.decision for question in request.questions]
        found, usage = await decide(exchange, target, request.asked, decisions)
        pairs = zip(request.questions, found, strict=True)
        await exchange.answer_json(
            {
                "model": target.name,
                "answers": [question.answer(chances) for question, chances in pairs],
                "usage": usage_of(usage),
            }
        )

    return [Route(PATH, Endpoint(PATH, answer, OPENAI.renamed(prompt="input")), methods=["POST"])]


def read_decisions(fields: Fields, settings: Settings) -> DecisionsRequest:
    """The body of a request for decisions. Errors: InvalidRequest, UnsupportedFeature; each names
    its field.
    """
    model = fields.text("model")
    required(fields, "input", fields.peek("input"))
    messages = messages_of(read_items(fields, "input", _not_kept), None)
    if not messages:
        fields.bad("input", "must not be empty")
    if images := images_of(Conversation(messages)):
        raise UnsupportedFeature(
            f"{images[0].name} a decision is about texts alone.",
            hint="Leave the image out.",
            param=images[0].param,
        )
    entries = required(fields, "questions", fields.objects("questions", most=MOST_QUESTIONS))
    if not entries:
        fields.bad("questions", "must not be empty")
    questions = [_question(entry) for entry in entries]
    kwargs = read_template_kwargs(fields, settings)
    fields.ignore("prompt_cache_key", "prompt_cache_options", "safety_identifier")
    fields.ignore("user", "metadata")
    fields.close()
    asked = with_effort(Conversation(messages, template_kwargs=kwargs), NO_EFFORT)
    return DecisionsRequest(model, asked, questions)


def _not_kept(name: str, path: str) -> Item:
    raise NotFound(f"There is no item {name!r}.", hint="Send the item itself.", param=path)


def _question(fields: Fields) -> DecisionQuestion:
    """Errors: InvalidRequest, UnsupportedFeature."""
    kind = required(fields, "type", fields.choice("type", *KINDS))
    name = fields.text("name", longest=MAX_NAME)
    asked = required(fields, "instructions", read_text_content(fields, "instructions"))
    if not asked.strip():
        fields.bad("instructions", "must not be empty")
    values: tuple[str | bool, ...] = _ANSWERS
    answers = _ANSWERS
    if kind in _OPTIONS:
        values, answers = _options(fields, *_OPTIONS[kind])
    fields.close()
    return DecisionQuestion(kind, name, Decision(_ASKED[kind].format(asked), answers), values)


def _options(fields: Fields, name: str, key: str) -> tuple[tuple[str | bool, ...], tuple[str, ...]]:
    """The values, and what the model is told of each. Errors: InvalidRequest."""
    entries = required(fields, name, fields.objects(name, most=MOST_OPTIONS))
    if len(entries) < LEAST_OPTIONS:
        fields.bad(name, f"must have at least {LEAST_OPTIONS} entries")
    values: list[str | bool] = []
    told = []
    for entry in entries:
        value = required(entry, key, entry.raw(key))
        if not isinstance(value, str) and not (key == "value" and isinstance(value, bool)):
            entry.bad(key, f"must be a string{_OR_BOOLEAN[key]}")
        if any(value == other and type(value) is type(other) for other in values):
            entry.bad(key, f"{value!r} is there twice")
        values.append(value)
        text = value if isinstance(value, str) else str(value).lower()
        entry.check_text(key, text)
        said = entry.text("description")
        told.append(f"{text}: {said}" if said else text)
        entry.close()
    return tuple(values), tuple(told)
