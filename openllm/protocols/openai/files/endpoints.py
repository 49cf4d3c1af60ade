"""/v1/files: files sent as forms, listed, read and deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import msgspec
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.routing import Route

from openllm.errors import InvalidRequest, UnsupportedFeature, UnsupportedMediaType
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.files.folder import Folder, StoredFile, new_file_id
from openllm.protocols.openai.responses.listing import page
from openllm.protocols.openai.responses.store import Item

PATH = "/v1/files"
ONE = PATH + "/{file}"
CONTENT = ONE + "/content"
MOST_LISTED = 10_000
PURPOSE = "batch"
SHORTEST, LONGEST = 3600, 30 * 24 * 3600  # seconds of expires_after; the usual is the longest
_FORM_BYTES = 64 * 1024  # of a form beside the file
_FIELDS, _FIELD_BYTES, _NAME_CHARACTERS = 16, 1024, 255


def routes(folder: Folder) -> list[Route]:
    found = _Files(folder)
    handlers = (
        (PATH, found.all, ["GET", "POST"]),
        (ONE, found.one, ["GET", "DELETE"]),
        (CONTENT, found.content, ["GET"]),
    )
    return [
        Route(path, Endpoint(path, handler, OPENAI), methods=methods)
        for path, handler, methods in handlers
    ]


class _Files:
    """The handlers."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    async def all(self, exchange: Exchange) -> None:
        self._folder.require()
        if exchange.method == "POST":
            await self._create(exchange)
            return
        found = await asyncio.to_thread(self._folder.files, exchange.owner)
        purpose = exchange.query.get("purpose")
        items = [
            Item(file.id, msgspec.json.encode(shown(file)))
            for file in found
            if purpose in (None, file.purpose)
        ]
        await exchange.answer_json(page(items, exchange, MOST_LISTED, MOST_LISTED))

    async def _create(self, exchange: Exchange) -> None:
        form = await _read(exchange, self._folder.bounds.file_bytes)
        file = StoredFile(
            new_file_id(),
            exchange.owner,
            form.file.size or 0,
            exchange.created,
            (form.file.filename or "file")[:_NAME_CHARACTERS],
            PURPOSE,
            exchange.created + form.seconds,
        )
        try:
            await asyncio.to_thread(self._folder.add, form.file.file, file)
        finally:
            await form.file.close()
        await exchange.answer_json(shown(file))

    async def _named(self, exchange: Exchange) -> StoredFile:
        self._folder.require()
        name = exchange.path_params["file"]
        return await asyncio.to_thread(self._folder.file, exchange.owner, name)

    async def one(self, exchange: Exchange) -> None:
        file = await self._named(exchange)
        if exchange.method == "DELETE":
            await asyncio.to_thread(self._folder.remove, file)
            await exchange.answer_json({"id": file.id, "object": "file", "deleted": True})
            return
        await exchange.answer_json(shown(file))

    async def content(self, exchange: Exchange) -> None:
        file = await self._named(exchange)
        with self._folder.data(file.id).open("rb") as data:
            await exchange.answer_file(data, file.bytes, b"application/octet-stream")


def shown(file: StoredFile) -> dict[str, Any]:
    """A file in OpenAI's shape."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


@attrs.frozen
class _Form:
    file: UploadFile
    seconds: int  # until it goes


async def _read(exchange: Exchange, limit: int) -> _Form:
    """The form in a body. Errors: PayloadTooLarge, InvalidRequest, UnsupportedFeature."""
    kind = exchange.headers.get(b"content-type", b"")
    if not kind.lower().startswith(b"multipart/form-data"):
        raise InvalidRequest(
            "A file is sent as multipart/form-data.", hint="Its fields are file and purpose."
        )
    if exchange.headers.get(b"content-encoding"):
        raise UnsupportedMediaType("A form cannot be compressed.", hint="Send it as it is.")
    parser = MultiPartParser(
        Headers(raw=list(exchange.headers.items())),
        exchange.body_parts(limit + _FORM_BYTES),
        max_files=1,
        max_fields=_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The form cannot be read: {error.message}") from None
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidRequest("file is required.", param="file", code="missing_field")
    try:
        return _checked(file, {name: str(value) for name, value in form.items()})
    except InvalidRequest:
        await file.close()
        raise


def _checked(file: UploadFile, said: dict[str, str]) -> _Form:
    purpose = said.get("purpose")
    if not purpose:
        raise InvalidRequest("purpose is required.", param="purpose", code="missing_field")
    if purpose != PURPOSE:
        raise UnsupportedFeature(
            f"purpose: files are kept for a {PURPOSE} alone, not for {purpose[:64]!r}.",
            hint="What another request needs goes into its body.",
            param="purpose",
        )
    seconds = said.get("expires_after[seconds]")
    if seconds is None:
        return _Form(file, LONGEST)
    if said.get("expires_after[anchor]") != "created_at":
        raise InvalidRequest(
            "expires_after.anchor must be created_at.", param="expires_after.anchor"
        )
    if not seconds.isascii() or not seconds.isdigit() or len(seconds) > len(str(LONGEST)):
        seconds = "0"
    return _Form(file, checked_seconds(int(seconds)))


def checked_seconds(seconds: int, param: str = "expires_after.seconds") -> int:
    """How long a file is kept. Errors: InvalidRequest."""
    if not SHORTEST <= seconds <= LONGEST:
        raise InvalidRequest(f"{param} must be between {SHORTEST} and {LONGEST}.", param=param)
    return seconds
