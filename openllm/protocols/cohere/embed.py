"""POST /v2/embed: vectors of texts as numbers, as base64, or with fewer bits; and /v1/embed, whose
numbers stand in a list where no type is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import ContextLengthExceeded, UnsupportedFeature
from openllm.http.body.fields import Fields, required
from openllm.http.body.prompts import MAX_DIMENSIONS
from openllm.http.body.sampling import MAX_INT
from openllm.http.catalog import Catalog, Target
from openllm.http.embedding import embed
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint, Handler
from openllm.llm.embedding import DOCUMENT, QUERY, EmbeddingOutput, Side, shortened
from openllm.protocols.cohere.dialect import COHERE
from openllm.protocols.cohere.vectors import ENCODERS, FLOAT
from openllm.types import Prompt

PATH, EARLIER_PATH = "/v2/embed", "/v1/embed"
_TEXT_ONLY = "This server makes vectors of texts."
_SIDES: dict[str, Side | None] = {"NONE": None, "START": "start", "END": "end"}
# What a vector is for -> what models call the prompt for that.
_INPUT_TYPES: dict[str, tuple[str, ...]] = {
    "search_document": DOCUMENT,
    "search_query": QUERY,
    "classification": ("classification",),
    "clustering": ("clustering",),
    "image": (),
}


@attrs.frozen
class TypedVectorsRequest:
    """A parsed body."""

    model: str | None
    texts: tuple[str, ...]
    types: tuple[str, ...]  # of vectors; none: a list of numbers each
    truncate: Side | None
    max_tokens: int | None  # of each text
    dimensions: int | None
    prompt_names: tuple[str, ...]  # the first that the model has


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    def answering(by_type: bool, version: str) -> Handler:
        async def answer(exchange: Exchange) -> None:
            fields = await exchange.fields()
            request = await exchange.apart(read_embed, fields, settings, by_type=by_type)
            target = catalog.running(request.model, "embed")
            output = await embed(
                exchange,
                target,
                await asyncio.to_thread(prompts, request, target),
                normalize=True,
                dimensions=request.dimensions,
                truncate=request.truncate,
                prompt_name=request.prompt_names,
            )
            found = await asyncio.to_thread(embeddings, request.types, output)
            billed = {"input_tokens": output.usage.prompt_tokens}
            await exchange.answer_json(
                {
                    "id": exchange.request_id,
                    "response_type": "embeddings_by_type" if request.types else "embeddings_floats",
                    "embeddings": found,
                    "texts": request.texts,
                    "meta": {"api_version": {"version": version}, "billed_units": billed},
                }
            )

        return answer

    return [
        Route(path, Endpoint(path, answering(by_type, version), COHERE), methods=["POST"])
        for path, by_type, version in ((PATH, True, "2"), (EARLIER_PATH, False, "1"))
    ]


def read_embed(fields: Fields, settings: Settings, *, by_type: bool = True) -> TypedVectorsRequest:
    """The body of a request for vectors; `by_type`: they are told by their types, also where none
    is asked for. Errors: InvalidRequest, UnsupportedFeature; each names its field.
    """
    model = fields.text("model")
    texts = _texts(fields, settings)
    types = fields.texts("embedding_types", most=len(ENCODERS))
    for kind in types or ():
        if kind not in ENCODERS:
            fields.bad("embedding_types", f"must be some of {', '.join(ENCODERS)}")
    if by_type and not types:
        types = (FLOAT,)
    purpose = fields.choice("input_type", *_INPUT_TYPES)
    side = fields.choice("truncate", *_SIDES) or "END"
    most = fields.integer("max_tokens", 1, MAX_INT)
    dimensions = fields.integer("output_dimension", 1, MAX_DIMENSIONS)
    fields.pass_over("priority", "Leave it out.", 0)
    fields.close()
    names = () if purpose is None else _INPUT_TYPES[purpose]
    return TypedVectorsRequest(model, texts, types or (), _SIDES[side], most, dimensions, names)


def _texts(fields: Fields, settings: Settings) -> tuple[str, ...]:
    """`texts`, or the texts of `inputs`. Errors: InvalidRequest, UnsupportedFeature."""
    fields.refuse("images", _TEXT_ONLY, [])
    texts = fields.texts("texts", most=settings.max_prompts)
    entries = fields.objects("inputs", most=settings.max_prompts)
    if texts and entries:
        fields.bad("inputs", "cannot go together with texts")
    name = "texts" if entries is None else "inputs"
    found = texts if entries is None else tuple(map(_input, entries))
    if not required(fields, name, found):
        fields.bad(name, "must not be empty")
    if not all(found or ()):
        fields.bad(name, "must not hold an empty text")
    return found or ()


def _input(fields: Fields) -> str:
    """The text of one input: its parts, joined by line breaks."""
    parts = required(fields, "content", fields.objects("content", most=MAX_DIMENSIONS))
    texts = []
    for part in parts:
        kind = required(part, "type", part.text("type", longest=64, known=("text",)))
        if kind != "text":
            path = part.path("type")
            raise UnsupportedFeature(f"{path}: {kind!r} is no text.", hint=_TEXT_ONLY, param=path)
        texts.append(required(part, "text", part.text("text")))
        part.close()
    fields.close()
    return "\n".join(texts)


def prompts(request: TypedVectorsRequest, target: Target) -> Sequence[Prompt]:
    """The texts, each cut to as many tokens as the request allows. Errors: ContextLengthExceeded
    where they must not be cut.
    """
    most, renderer = request.max_tokens, target.llm.renderer
    if most is None:
        return request.texts
    found = []
    for at, text in enumerate(request.texts):
        ids = renderer.encode(text)
        if len(ids) > most and request.truncate is None:
            raise ContextLengthExceeded(
                f"Text {at} has {len(ids)} tokens; the request allows {most}.",
                hint="Shorten it or split it.",
                param="texts",
            )
        cut = len(ids) > most
        found.append(shortened(renderer, text, most, request.truncate or "end") if cut else ids)
    return found


def embeddings(types: Sequence[str], output: EmbeddingOutput) -> Any:
    """The vectors as the answer has them: by type, or as lists of numbers where none is said."""
    if not types:
        return output.vectors
    return {kind: list(map(ENCODERS[kind], output.vectors)) for kind in types}
