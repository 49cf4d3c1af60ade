"""POST /tokenize and /detokenize, vLLM's: the token ids of a text or a conversation, and back."""

from __future__ import annotations

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.http.body.fields import Fields, required
from openllm.http.body.prompts import MAX_PROMPT_IDS, read_prompts
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
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
        request = read_tokenize(await exchange.fields(), settings)
        llm = catalog.running(request.model, "any").llm
        token_ids = await llm.prompt_ids(
            GenerationRequest(
                request.prompt,
                add_special_tokens=request.add_special_tokens,
                reading=None,
            )
        )
        table = llm.token_table
        texts = [table.text(token) for token in token_ids] if request.texts else None
        await exchange.answer_json(
            {
                "count": len(token_ids),
                "max_model_len": llm.max_model_len,
                "tokens": token_ids,
                "token_strs": texts,
            }
        )

    async def detokenize(exchange: Exchange) -> None:
        fields = await exchange.fields()
        model = fields.text("model")
        tokens = required(fields, "tokens", fields.items("tokens", most=MAX_PROMPT_IDS))
        fields.close()
        llm = catalog.running(model, "any").llm
        tokens = [fields.whole(token) for token in tokens]
        size = llm.info.vocab_size
        if not all(type(token) is int and 0 <= token < size for token in tokens):
            raise InvalidRequest(f"tokens: a token id is not in [0, {size}).", param="tokens")
        text = llm.decoding_tokenizer.decode(tokens, skip_special_tokens=False)
        await exchange.answer_json({"prompt": text})

    return [
        Route(path, Endpoint(path, handler, OPENAI), methods=["POST"])
        for path, handler in ((TOKENIZE, tokenize), (DETOKENIZE, detokenize))
    ]


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
