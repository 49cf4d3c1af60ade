"""POST /v2/rerank: documents by how well they answer a query, the best first."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.sampling import MAX_INT
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.scoring import ranked, score
from openllm.llm.scoring import FITTING
from openllm.prompt.pairs import Cut
from openllm.protocols.cohere.dialect import COHERE

PATH = "/v2/rerank"
_SPANS_OFF = {"mode": "disabled"}


@attrs.frozen
class RerankRequest:
    """A parsed body."""

    model: str | None
    query: str
    documents: tuple[str, ...]
    top: int | None  # None: all
    cut: Cut


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def rerank(exchange: Exchange) -> None:
        request = await exchange.read(read_rerank, settings)
        target = catalog.running(request.model, "score")
        output = await score(exchange, target, [request.query], request.documents, cut=request.cut)
        best = ranked(output, request.top)
        used = {"input_tokens": output.usage.prompt_tokens}
        answer: dict[str, Any] = {
            "id": exchange.request_id,
            "results": [{"index": one.index, "relevance_score": one.score} for one in best],
            "meta": {"api_version": {"version": "2"}, "billed_units": used, "tokens": used},
        }
        await exchange.answer_json(answer)

    return [Route(PATH, Endpoint(PATH, rerank, COHERE), methods=["POST"])]


def read_rerank(fields: Fields, settings: Settings) -> RerankRequest:
    """The body of a request for documents in order. A document that is too long for the model, or
    has more than `max_tokens_per_doc` tokens, loses its end, as the vendor has it. Errors:
    InvalidRequest, each names its field.
    """
    fields.names["queries"] = "query"
    model = fields.text("model")
    query = required(fields, "query", fields.text("query"))
    documents = required(fields, "documents", fields.texts("documents", most=settings.max_prompts))
    if not documents:
        fields.bad("documents", "must not be empty")
    if not query or not all(documents):
        fields.bad("documents" if query else "query", "must not hold an empty text")
    top = fields.integer("top_n", 1, MAX_INT)
    most = fields.integer("max_tokens_per_doc", 1, MAX_INT)
    fields.pass_over("relevant_spans", "Leave it out: no model here tells spans.", _SPANS_OFF)
    fields.pass_over("priority", "Leave it out.", 0)
    fields.close()
    return RerankRequest(model, query, documents, top, Cut(FITTING, second=most))
