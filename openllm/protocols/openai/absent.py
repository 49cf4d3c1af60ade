"""Routes of OpenAI's that are not here: a 404 that says why, and what to do instead."""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import NotFound
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.dialect import OPENAI

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Below which path -> what is missing, and what to do.
ABSENT = {
    "/v1/moderations": ("This server judges no texts.", "Ask a chat model that was made for it."),
    "/v1/uploads": ("This server takes files whole.", "Send the file to /v1/files."),
    "/v1/images": ("This server makes no images.", None),
    "/v1/audio": ("This server neither hears nor speaks.", "Send text."),
    "/v1/fine_tuning": (
        "This server trains no models.",
        "Train an adapter, and mount it (docs/finetune.md).",
    ),
    "/v1/vector_stores": ("This server keeps no vectors.", None),
    "/v1/assistants": ("This server has no assistants.", "Send the conversation itself."),
    "/v1/threads": ("This server keeps no threads.", "Send the conversation itself."),
}


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    return [
        Route(f"{path}{rest}", _missing(path, why, hint), methods=METHODS)
        for path, (why, hint) in ABSENT.items()
        for rest in ("", "/{rest:path}")
    ]


def _missing(path: str, why: str, hint: str | None) -> Endpoint:
    async def refuse(exchange: Exchange) -> None:
        raise NotFound(why, hint=hint, code="unsupported_feature")

    return Endpoint(path, refuse, OPENAI, described=False)
