"""POST /tokenize and /detokenize, vLLM's: the token ids of a text or a conversation, and back."""

from __future__ import annotations

import attrs
import msgspec
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.prompts import MAX_PROMPT_IDS, read_prompts, text_of
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.llm.llm import LLM
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.messages import read_conversation
from openllm.types import GenerationRequest, Prompt

TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"


@attrs.frozen
class TokenizeRequest:
    """A parsed body."""

    model: str | None
    prompt: Prompt
    add_special_tokens: bool
    texts: bool  # of the single tokens


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def tokenize(exchange: Exchange) -> None:
        request = await exchange.read(read_tokenize, settings)
        llm = catalog.running(request.model, "any").llm
        token_ids = await llm.prompt_ids(
            GenerationRequest(
                request.prompt,
                add_special_tokens=request.add_special_tokens,
                reading=None,
            )
        )
        body = await exchange.apart(_told, llm, token_ids, texts=request.texts)
        await exchange.answer(200, body)

    async def detokenize(exchange: Exchange) -> None:
        fields = await exchange.fields()
        model = fields.text("model")
        tokens = required(fields, "tokens", fields.items("tokens", most=MAX_PROMPT_IDS))
        fields.close()
        llm = catalog.running(model, "any").llm
        tokens = await exchange.apart(list, map(fields.whole, tokens))
        text = await exchange.apart(text_of, llm, tokens, "tokens")
        await exchange.answer_json({"prompt": text})

    return [
        Route(path, Endpoint(path, handler, OPENAI), methods=["POST"])
        for path, handler in ((TOKENIZE, tokenize), (DETOKENIZE, detokenize))
    ]


def _told(llm: LLM, token_ids: list[int], *, texts: bool) -> bytes:
    """The answer to a request for token ids."""
    found = {
        "count": len(token_ids),
        "max_model_len": llm.max_model_len,
        "tokens": token_ids,
        "token_strs": list(map(llm.token_table.text, token_ids)) if texts else None,
    }
    return msgspec.json.encode(found)


def read_tokenize(fields: Fields, settings: Settings) -> TokenizeRequest:
    """The body of a request for token ids: of `prompt`, or of `messages` and what goes with them.
    Errors: InvalidRequest, UnsupportedFeature.
    """
    model = fields.text("model")
    texts = fields.flag("return_token_strs")
    is_chat = fields.said("messages")
    add_special_tokens = fields.flag("add_special_tokens", default=not is_chat)
    prompt: Prompt
    if is_chat:
        prompt = read_conversation(fields, settings)
    else:
        prompt, *others = read_prompts(fields, "prompt", settings)
        if others or not isinstance(prompt, str):
            fields.bad("prompt", "must be one text")
    fields.close()
    return TokenizeRequest(model, prompt, add_special_tokens, texts)
