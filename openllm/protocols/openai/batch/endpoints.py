"""/v1/batches: made of a file that was sent, looked at, cancelled and listed."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.batch.kept import KeptBatches
from openllm.protocols.openai.batch.lines import URLS
from openllm.protocols.openai.batch.record import WINDOWS, Batch, new_batch_id
from openllm.protocols.openai.batch.runs import BatchRuns
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.files import endpoints as files
from openllm.protocols.openai.files.endpoints import LONGEST, SHORTEST
from openllm.protocols.openai.files.folder import Folder
from openllm.protocols.openai.responses.listing import page
from openllm.protocols.openai.responses.request import read_metadata
from openllm.protocols.openai.responses.store import Item

PATH = "/v1/batches"
ONE = PATH + "/{batch}"
CANCEL = ONE + "/cancel"


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """Those of files, too, which are kept for batches."""
    folder = Folder(settings)
    found = _Batches(catalog, folder)
    handlers = (
        (PATH, found.all, ["GET", "POST"]),
        (ONE, found.one, ["GET"]),
        (CANCEL, found.cancel, ["POST"]),
    )
    beside = found.runs.run if folder.enabled else None
    return [
        *files.routes(folder),
        *(
            Route(path, Endpoint(path, handler, OPENAI, beside=beside), methods=methods)
            for path, handler, methods in handlers
        ),
    ]


class _Batches:
    """The handlers."""

    def __init__(self, catalog: Catalog, folder: Folder) -> None:
        self._folder = folder
        self._kept = KeptBatches(folder)
        self.runs = BatchRuns(catalog, folder, self._kept)

    async def all(self, exchange: Exchange) -> None:
        self._folder.require()
        if exchange.method == "POST":
            await self._create(exchange)
            return
        found = await asyncio.to_thread(self._kept.of, exchange.owner)
        items = [Item(batch.id, msgspec.json.encode(batch.shown())) for batch in found]
        await exchange.answer_json(page(items, exchange))

    async def _create(self, exchange: Exchange) -> None:
        batch = await exchange.read(_read, exchange)
        await asyncio.to_thread(self._folder.file, exchange.owner, batch.input_file_id)
        await asyncio.to_thread(self._kept.create, batch)
        self.runs.look()
        await exchange.answer_json(batch.shown())

    async def _named(self, exchange: Exchange) -> Batch:
        self._folder.require()
        name = exchange.path_params["batch"]
        return await asyncio.to_thread(self._kept.batch, exchange.owner, name)

    async def one(self, exchange: Exchange) -> None:
        await exchange.answer_json((await self._named(exchange)).shown())

    async def cancel(self, exchange: Exchange) -> None:
        batch = await asyncio.to_thread(self._kept.cancel, await self._named(exchange))
        self.runs.look(batch.id)
        await exchange.answer_json(batch.shown())


def _read(fields: Fields, exchange: Exchange) -> Batch:
    """Errors: InvalidRequest."""
    name = required(fields, "input_file_id", fields.text("input_file_id", longest=64))
    endpoint = required(fields, "endpoint", fields.choice("endpoint", *URLS))
    window = required(fields, "completion_window", fields.choice("completion_window", *WINDOWS))
    metadata = read_metadata(fields)
    kept_for = LONGEST
    if (expires := fields.object("output_expires_after")) is not None:
        required(expires, "anchor", expires.choice("anchor", "created_at"))
        kept_for = required(expires, "seconds", expires.integer("seconds", SHORTEST, LONGEST))
        expires.close()
    fields.close()
    return Batch(
        id=new_batch_id(),
        owner=exchange.owner,
        caller=exchange.caller.name,
        endpoint=endpoint,
        input_file_id=name,
        completion_window=window,
        created_at=exchange.created,
        expires_at=exchange.created + WINDOWS[window],
        kept_for=kept_for,
        metadata=metadata,
    )
