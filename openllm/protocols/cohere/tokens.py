"""POST /v1/tokenize and /v1/detokenize: the token ids of a text, and back."""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.prompts import MAX_PROMPT_IDS, text_of
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.cohere.dialect import COHERE
from openllm.types import GenerationRequest

TOKENIZE, DETOKENIZE = "/v1/tokenize", "/v1/detokenize"
_META = {"api_version": {"version": "1"}}


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def tokenize(exchange: Exchange) -> None:
        model, text = await exchange.read(read_tokenize, settings)
        llm = catalog.running(model, "any").llm
        request = GenerationRequest(text, add_special_tokens=False, reading=None)
        tokens = await llm.prompt_ids(request) if text else []
        strings = await exchange.apart(list, map(llm.token_table.text, tokens))
        await exchange.answer_json({"tokens": tokens, "token_strings": strings, "meta": _META})

    async def detokenize(exchange: Exchange) -> None:
        fields = await exchange.fields()
        model, tokens = await exchange.apart(read_detokenize, fields, settings)
        llm = catalog.running(model, "any").llm
        text = await exchange.apart(text_of, llm, tokens, "tokens")
        await exchange.answer_json({"text": text, "meta": _META})

    return [
        Route(path, Endpoint(path, handler, COHERE), methods=["POST"])
        for path, handler in ((TOKENIZE, tokenize), (DETOKENIZE, detokenize))
    ]


def read_tokenize(fields: Fields, settings: Settings) -> tuple[str | None, str]:
    """The model and the text of a request for token ids. Errors: InvalidRequest."""
    model = fields.text("model")
    text = required(fields, "text", fields.text("text"))
    fields.close()
    return model, text


def read_detokenize(fields: Fields, settings: Settings) -> tuple[str | None, list[int]]:
    """The model and the token ids of a request for text. Errors: InvalidRequest."""
    model = fields.text("model")
    tokens = required(fields, "tokens", fields.items("tokens", most=MAX_PROMPT_IDS))
    fields.close()
    return model, [fields.whole(token) for token in tokens]
