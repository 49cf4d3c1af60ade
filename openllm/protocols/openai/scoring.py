"""POST /v1/rerank, /v1/score and /v1/classify, as vLLM has them: documents by how well they answer
a query, scores of pairs, labels of texts.
"""

from __future__ import annotations

import time
from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.prompts import read_prompts
from openllm.http.body.sampling import MAX_INT
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.scoring import RankedDocument, classify, ranked, score
from openllm.llm.scoring import FITTING
from openllm.prompt.pairs import Cut, Side
from openllm.protocols.openai.dialect import OPENAI
from openllm.types import Usage, new_request_id

RERANK, SCORE, CLASSIFY = "/v1/rerank", "/v1/score", "/v1/classify"
# What the two texts of a pair are called in the body of /v1/score.
PAIRS = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)
_INSTRUCTED = "Write the instruction into the query."


@attrs.frozen
class PooledOptions:
    """What the bodies of all three routes may say."""

    model: str | None
    cut: Cut
    activate: bool


@attrs.frozen
class RerankBody:
    """A parsed body."""

    handling: PooledOptions
    query: str
    documents: list[str]
    top: int | None  # None: all
    shows_documents: bool


@attrs.frozen
class ScoreBody:
    """A parsed body."""

    handling: PooledOptions
    queries: list[str]
    documents: list[str]


@attrs.frozen
class ClassifyBody:
    """A parsed body."""

    handling: PooledOptions
    inputs: list[str | list[int]]


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def rerank(exchange: Exchange) -> None:
        request = await exchange.read(read_rerank, settings)
        await _answer_rerank(exchange, catalog, request)

    async def scores(exchange: Exchange) -> None:
        request = await exchange.read(read_score, settings)
        await _answer_score(exchange, catalog, request)

    async def classes(exchange: Exchange) -> None:
        request = await exchange.read(read_classify, settings)
        await _answer_classify(exchange, catalog, request)

    handlers = ((RERANK, rerank), (SCORE, scores), (CLASSIFY, classes))
    return [
        Route(path, Endpoint(path, handler, OPENAI.renamed(texts="input")), methods=["POST"])
        for path, handler in handlers
    ]


async def _answer_rerank(exchange: Exchange, catalog: Catalog, request: RerankBody) -> None:
    handling = request.handling
    target = catalog.running(handling.model, "score")
    output = await score(
        exchange,
        target,
        [request.query],
        request.documents,
        cut=handling.cut,
        activate=handling.activate,
    )
    results = [_result(one, request) for one in ranked(output, request.top)]
    head = {"id": f"rerank-{new_request_id()}", "model": target.name}
    await exchange.answer_json({**head, "usage": _usage(output.usage), "results": results})


async def _answer_score(exchange: Exchange, catalog: Catalog, request: ScoreBody) -> None:
    handling = request.handling
    target = catalog.running(handling.model, "score")
    output = await score(
        exchange,
        target,
        request.queries,
        request.documents,
        cut=handling.cut,
        activate=handling.activate,
    )
    data = [
        {"index": at, "object": "score", "score": value} for at, value in enumerate(output.scores)
    ]
    await exchange.answer_json(_listed("score", target, data, output.usage))


async def _answer_classify(exchange: Exchange, catalog: Catalog, request: ClassifyBody) -> None:
    handling = request.handling
    target = catalog.running(handling.model, "classify")
    output = await classify(
        exchange, target, request.inputs, cut=handling.cut, activate=handling.activate
    )
    data = [
        {"index": at, "label": output.best(row), "probs": row, "num_classes": len(row)}
        for at, row in enumerate(output.rows)
    ]
    await exchange.answer_json(_listed("classify", target, data, output.usage))


def read_rerank(fields: Fields, settings: Settings) -> RerankBody:
    """The body of a request for documents in order. Errors: InvalidRequest."""
    fields.names["queries"] = "query"
    queries = _texts(fields, "query", settings)
    if len(queries) != 1:
        fields.bad("query", "must be one text")
    documents = _texts(fields, "documents", settings)
    top = fields.integer("top_n", 0, MAX_INT)
    shows_documents = fields.flag("return_documents", default=True)
    handling = _handling(fields)
    return RerankBody(handling, queries[0], documents, top or None, shows_documents)


def read_score(fields: Fields, settings: Settings) -> ScoreBody:
    """The body of a request for scores. Errors: InvalidRequest."""
    first, second = next((both for both in PAIRS if all(map(fields.said, both))), PAIRS[0])
    fields.names |= {"queries": first, "documents": second}
    queries, documents = _texts(fields, first, settings), _texts(fields, second, settings)
    return ScoreBody(_handling(fields), queries, documents)


def read_classify(fields: Fields, settings: Settings) -> ClassifyBody:
    """The body of a request for labels. Errors: InvalidRequest, UnsupportedFeature."""
    fields.refuse("messages", "Send the text in input.")
    inputs = read_prompts(fields, "input", settings)
    fields.pass_over("add_special_tokens", "Leave it out.", True)
    return ClassifyBody(_handling(fields, pairs=False), inputs)


def _handling(fields: Fields, *, pairs: bool = True) -> PooledOptions:
    """What is left of a body, which ends with it."""
    model = fields.text("model")
    whole = fields.integer("truncate_prompt_tokens", FITTING, MAX_INT)
    if fields.flag("truncation") and whole is None:  # Jina's and Voyage's word for it
        whole = FITTING
    side = fields.choice("truncation_side", "left", "right")
    first = second = None
    if pairs:
        first = fields.integer("max_tokens_per_query", 0, MAX_INT) or None
        second = fields.integer("max_tokens_per_doc", 0, MAX_INT) or None
        fields.refuse("instruction", _INSTRUCTED)
        fields.refuse("chat_template_kwargs", _INSTRUCTED, {})
    lost: Side = "start" if side == "left" else "end"
    activate = fields.flag("use_activation", default=True)
    fields.pass_over("priority", "Leave it out.", 0)
    fields.ignore("user", "metadata", "request_id")
    fields.close()
    return PooledOptions(model, Cut(whole, first, second, lost), activate)


def _texts(fields: Fields, name: str, settings: Settings) -> list[str]:
    """One text or several, each a string or an object with the string in `text`, or in the text
    parts of `content`.
    """
    value = required(fields, name, fields.raw(name))
    items = value if isinstance(value, list) else [value]
    if not items:
        fields.bad(name, "must not be empty")
    if len(items) > settings.max_prompts:
        fields.bad(name, f"has {len(items)} entries; at most {settings.max_prompts} are allowed")
    return [_text(fields, name, item) for item in items]


def _text(fields: Fields, name: str, item: Any) -> str:
    text = item
    if isinstance(item, dict):
        text = item.get("text")
        if text is None and isinstance(parts := item.get("content"), list):
            found = [part.get("text") for part in parts if isinstance(part, dict)]
            texts = [part for part in found if isinstance(part, str)]
            text = "\n".join(texts) if texts and len(texts) == len(parts) else None
    if not isinstance(text, str):
        fields.bad(name, "must hold strings, or objects with a string in text")
    if not text:
        fields.bad(name, "must not hold an empty text")
    fields.check_text(name, text)
    return text


def _result(one: RankedDocument, request: RerankBody) -> dict[str, Any]:
    found: dict[str, Any] = {"index": one.index}
    if request.shows_documents:
        found["document"] = {"text": request.documents[one.index]}
    return {**found, "relevance_score": one.score}


def _listed(kind: str, target: Target, data: list[Any], usage: Usage) -> dict[str, Any]:
    return {
        "id": f"{kind}-{new_request_id()}",
        "object": "list",
        "created": int(time.time()),
        "model": target.name,
        "data": data,
        "usage": _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
