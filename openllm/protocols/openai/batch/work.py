"""Answers the requests of a batch, several at once, by an application in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from openllm.errors import EngineDead
from openllm.http.app import Server
from openllm.http.inside import Answer, post
from openllm.protocols.openai.batch.lines import BatchLine, Results

BUSY = 503  # an engine that has no room just now
LONGEST_WAIT = 60.0  # seconds


async def answer_all(
    server: Server,
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
            results.add(line, await _answer(server, line))
            tell()

    tasks = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _answer(server: Server, line: BatchLine) -> Answer:
    body = msgspec.json.encode(line.body)
    while True:
        answer = await post(server, line.url, body)
        if not server.alive:
            raise EngineDead(
                f"The engine died at line {line.number}.",
                hint="Run it again: it goes on with the lines that have no answer.",
            )
        if answer.status != BUSY:
            return answer
        after = answer.headers.get(b"retry-after", b"1")
        await asyncio.sleep(min(float(after), LONGEST_WAIT))
