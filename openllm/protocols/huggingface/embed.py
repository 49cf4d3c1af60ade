"""Vectors of texts as TEI gives them: a list of lists of numbers, for one text too."""

from __future__ import annotations

import attrs

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import MAX_DIMENSIONS, read_prompts
from openllm.http.catalog import Catalog
from openllm.http.embedding import as_json, embed, written
from openllm.http.exchange import Exchange
from openllm.llm.embedding import Side

# Fields of these bodies alone.
OWN = ("normalize", "prompt_name", "truncate", "truncation_direction", "dimensions")


@attrs.frozen
class VectorsRequest:
    """A parsed body."""

    model: str | None
    texts: list[str | list[int]]
    normalize: bool
    truncate: Side | None
    dimensions: int | None
    prompt_name: str | None  # of the model's own prompts


def read_embed(fields: Fields, settings: Settings) -> VectorsRequest:
    """The body of a request for vectors. Errors: InvalidRequest, UnsupportedFeature."""
    model, texts = fields.text("model"), read_prompts(fields, "inputs", settings)
    normalize = fields.flag("normalize", default=True)
    cut = fields.flag("truncate")
    side = fields.choice("truncation_direction", "left", "right", "Left", "Right") or "right"
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS)
    prompt_name = fields.text("prompt_name")
    fields.refuse("encoding_format", "Vectors are lists of numbers here.", "float")
    fields.ignore("parameters", "options")
    fields.close()
    direction: Side = "start" if side.lower() == "left" else "end"
    side_lost = direction if cut else None
    return VectorsRequest(model, texts, normalize, side_lost, dimensions, prompt_name)


async def answer_embed(exchange: Exchange, catalog: Catalog, request: VectorsRequest) -> None:
    """Embed and answer. Errors: those of `Catalog.running` and `LLM.embed`."""
    target = catalog.running(request.model, "embed")
    output = await embed(
        exchange,
        target,
        request.texts,
        normalize=request.normalize,
        dimensions=request.dimensions,
        truncate=request.truncate,
        prompt_name=request.prompt_name,
    )
    await exchange.answer_json(await written(output.vectors, as_json))
