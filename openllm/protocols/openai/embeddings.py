"""POST /v1/embeddings: OpenAI's embeddings of texts or token ids, as numbers or as base64 of 32-bit
floats.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import MAX_DIMENSIONS, read_prompts
from openllm.http.body.sampling import MAX_INT
from openllm.http.catalog import Catalog
from openllm.http.embedding import as_json, embed, written
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.llm.embedding import Side
from openllm.protocols.openai.dialect import OPENAI

PATH = "/v1/embeddings"
EMBEDDINGS = OPENAI.renamed(prompt="input", texts="input")


@attrs.frozen
class EmbeddingRequest:
    """A parsed body."""

    model: str | None
    inputs: list[str | list[int]]
    base64: bool
    dimensions: int | None
    truncate: Side | None  # of a text that is too long
    normalize: bool
    prompt_name: str | None  # of the model's own prompts


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def answer(exchange: Exchange) -> None:
        request = await exchange.read(read_embedding, settings)
        target = catalog.running(request.model, "embed")
        output = await embed(
            exchange,
            target,
            request.inputs,
            normalize=request.normalize,
            dimensions=request.dimensions,
            truncate=request.truncate,
            prompt_name=request.prompt_name,
        )
        vectors: list[Any] = await written(output.vectors, packed if request.base64 else as_json)
        data = [
            {"object": "embedding", "index": at, "embedding": vector}
            for at, vector in enumerate(vectors)
        ]
        tokens = output.usage.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await exchange.answer_json(
            {"object": "list", "data": data, "model": target.name, "usage": usage}
        )

    return [Route(PATH, Endpoint(PATH, answer, EMBEDDINGS), methods=["POST"])]


def read_embedding(fields: Fields, settings: Settings) -> EmbeddingRequest:
    """The body of an embedding request. Errors: InvalidRequest; each names its field."""
    model = fields.text("model")
    inputs = read_prompts(fields, "input", settings)
    form = fields.choice("encoding_format", "float", "base64")
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS)
    truncate = _truncate(fields)
    normalize = fields.flag("normalize", default=True)
    prompt_name = fields.text("prompt_name")
    fields.pass_over("priority", "Leave it out.", 0)
    fields.pass_over("add_special_tokens", "Leave it out.", True)
    fields.ignore("user", "metadata")
    fields.close()
    return EmbeddingRequest(
        model, inputs, form == "base64", dimensions, truncate, normalize, prompt_name
    )


def _truncate(fields: Fields) -> Side | None:
    """Which side a text that is too long loses: NVIDIA's and Cohere's `truncate`, vLLM's
    `truncate_prompt_tokens` of -1.
    """
    said = (fields.text("truncate") or "").upper()
    if said not in ("", "NONE", "START", "END"):
        fields.bad("truncate", "must be one of NONE, START, END")
    most = fields.integer("truncate_prompt_tokens", -1, MAX_INT)
    if most not in (None, -1):
        fields.bad("truncate_prompt_tokens", "can only be -1 here: what is too long loses its end")
    if said in ("START", "END"):
        return "start" if said == "START" else "end"
    return "end" if most == -1 else None


def packed(vector: list[float]) -> str:
    """A vector as base64 of little-endian 32-bit floats."""
    numbers: array[Any] = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
