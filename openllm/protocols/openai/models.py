"""GET /v1/models and /v1/models/{id}: base models and adapters in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.listing import listing
from openllm.llm.llm import LLM
from openllm.protocols.openai.dialect import OPENAI

PATH = "/v1/models"
# What Hugging Face's clients have for a model where the server's address says it all.
PLACEHOLDERS = ("dummy", "tgi")
# What models of a task answer with, in the words of OpenRouter's list of models, by which clients
# of many servers tell models apart (https://openrouter.ai/docs/models).
OUTPUTS = {"generate": "text", "embed": "embeddings", "classify": "rerank"}


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    return listing(PATH, catalog, OPENAI, card, page)


def page(cards: list[dict[str, Any]], exchange: Exchange) -> dict[str, Any]:
    """The whole list: it has one page."""
    return {"object": "list", "data": cards}


def meant(catalog: Catalog, name: str | None) -> str | None:
    """The name of a model that a request means; None for a placeholder, unless a model is called
    so.
    """
    if name not in PLACEHOLDERS or any(target.name == name for target in catalog.targets()):
        return name
    return None


def card(target: Target) -> dict[str, Any]:
    """One entry of the list."""
    llm = target.llm
    found: dict[str, Any] = {
        "id": target.name,
        "object": "model",
        "created": llm.created,
        "owned_by": "openllm",
        "root": llm.name,
        "parent": llm.name if target.adapter else None,
    }
    if llm.started:
        found |= {"max_model_len": llm.max_model_len, "architecture": architecture(llm)}
    return found


def architecture(llm: LLM) -> dict[str, Any]:
    """What a started model takes and answers with, as OpenRouter says it."""
    output = OUTPUTS[llm.spec.task]
    return {
        "modality": f"{'+'.join(llm.input_modalities)}->{output}",
        "input_modalities": list(llm.input_modalities),
        "output_modalities": [output],
    }
