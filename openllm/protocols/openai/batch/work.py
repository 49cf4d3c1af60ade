"""Answers the requests of a batch, several at once, by an application in this process or by
servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import attrs
import msgspec
from starlette.types import ASGIApp

from openllm.errors import EngineDead
from openllm.http.inside import Answer, Sender, post
from openllm.protocols.openai.batch.lines import BatchLine, Results

if TYPE_CHECKING:
    from openllm.client.pool import ServerPool  # an HTTP client, of which routes need none

# A key that has sent too much for now, and an engine that has no room just now: both pass
BUSY = (429, 503)
LONGEST_WAIT = 60.0  # seconds
AT_ONCE = 256  # requests, where the engine says nothing


@attrs.frozen
class Asker:
    """Asks an application for the answers to lines."""

    app: ASGIApp
    alive: Callable[[], bool]  # whether its engines are
    sender: Sender | None = None  # whose the lines are, where keys are asked for
    # how many of these and of other lines are asked for at once
    room: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def ask(self, line: BatchLine) -> Answer:
        """The answer to a line, once there is room for it. Errors: EngineDead."""
        body = msgspec.json.encode(line.body)
        while True:
            async with self.room:
                answer = await post(self.app, line.url, body, self.sender)
            if not self.alive():
                raise EngineDead(
                    f"The engine died at line {line.number}.",
                    hint="Run it again: it goes on with the lines that have no answer.",
                )
            if answer.status not in BUSY:
                return answer
            after = answer.headers.get(b"retry-after", b"1")
            await asyncio.sleep(min(float(after), LONGEST_WAIT))


class Asks(Protocol):
    """What the answers to lines come from."""

    async def ask(self, line: BatchLine) -> Answer: ...


@attrs.frozen
class ServersAsker:
    """Asks servers elsewhere, any of them."""

    servers: ServerPool

    async def ask(self, line: BatchLine) -> Answer:
        """The answer to a line. Errors: those of `ServerPool.post`."""
        reply = await self.servers.post(line.url, msgspec.json.encode(line.body))
        named = {name.encode(): value.encode() for name, value in reply.headers.items()}
        body = reply.body
        if not _is_json(body):  # a proxy's page
            body = msgspec.json.encode({"error": {"message": body.decode(errors="replace")[:1000]}})
        return Answer(reply.status, named, body)


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


async def answer_all(
    asker: Asks,
    lines: Iterable[BatchLine],
    results: Results,
    at_once: int,
    tell: Callable[[], None],
) -> None:
    """Ask for every line that has no answer in `results`, `at_once` of them at a time, and write
    each answer down as it comes; `tell` is called after each.

    Errors: EngineDead; what has been answered by then stays written.
    """
    waiting = (line for line in lines if line.custom_id not in results.done)

    async def work() -> None:
        for line in waiting:
            results.add(line, await asker.ask(line))
            tell()

    tasks = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
