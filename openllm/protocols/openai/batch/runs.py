"""Runs the batches that are kept: begins them, goes on with those that a process before has left,
and ends them with their files.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from collections import Counter
from typing import BinaryIO

import attrs
from starlette.types import ASGIApp

from openllm.errors import InvalidRequest, option
from openllm.http.catalog import Catalog
from openllm.http.inside import Sender
from openllm.protocols.openai.batch.kept import KeptBatches, now
from openllm.protocols.openai.batch.lines import (
    Results,
    Survey,
    answer_status,
    error_line,
    read_lines,
    survey,
)
from openllm.protocols.openai.batch.record import Batch
from openllm.protocols.openai.batch.work import AT_ONCE, Asker, answer_all
from openllm.protocols.openai.files.folder import Folder, StoredFile

log = logging.getLogger(__name__)

MOST_LINES = 50_000  # of a batch, as OpenAI's
MOST_RUNNING = 8  # batches at a time; the others wait
SHARE = 2  # one of so many of an engine's places is for batches
LOOK_SECONDS = 2.0  # how often others' new batches are looked for
WATCH_SECONDS = 0.5  # how often others' wishes are looked for, and progress is written down


@attrs.frozen
class Ending:
    """What becomes of a batch that is no longer answered."""

    status: str
    error: InvalidRequest | None = None


class BatchRuns:
    """The batches that this process runs."""

    def __init__(self, catalog: Catalog, folder: Folder, kept: KeptBatches) -> None:
        self._catalog = catalog
        self._folder = folder
        self._kept = kept
        self._new = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._owners: dict[str, str] = {}  # of those that run
        self._looks: dict[str, asyncio.Event] = {}  # of those that run
        self._left: set[str] = set()  # not to be tried again by this process
        self._room = asyncio.Semaphore(1)

    def look(self, name: str = "") -> None:
        """There is something new: a batch, or the wish that batch `name` ends."""
        self._new.set()
        if name in self._looks:
            self._looks[name].set()

    async def run(self, app: ASGIApp) -> None:
        """Run whatever is there, until cancelled. What has not ended by then stays as it is."""
        self._room = asyncio.Semaphore(self._places())
        if not self._folder.shared:
            await self._new.wait()  # nothing is there before
        try:
            while True:
                self._new.clear()
                await self._begin(app)
                await _any(self._new, LOOK_SECONDS if self._folder.shared else None)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._folder.close()

    def _places(self) -> int:
        """How many requests of batches are answered at once: other requests find room, too."""
        known = [llm.info.max_concurrency or AT_ONCE for llm in self._catalog.llms]
        return max(1, min(known) // SHARE)

    def _alive(self) -> bool:
        return all(llm.failure is None for llm in self._catalog.llms)

    async def _begin(self, app: ASGIApp) -> None:
        """Begin what has room: of the owner who has the fewest running, the oldest."""
        waiting = await asyncio.to_thread(self._kept.unfinished)
        waiting = [item for item in waiting if item.id not in self._tasks.keys() | self._left]
        while waiting and len(self._tasks) < MOST_RUNNING and self._alive():
            running = Counter(self._owners.values())
            batch = min(waiting, key=lambda item: (running[item.owner], item.created_at))
            waiting.remove(batch)
            self._looks[batch.id] = asyncio.Event()
            self._owners[batch.id] = batch.owner
            task = asyncio.create_task(self._claim(batch.id, app), name=batch.id)
            self._tasks[batch.id] = task
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        name = task.get_name()
        for known in (self._tasks, self._owners, self._looks):
            known.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s has stopped; it goes on after a restart: %s", name, error)
            self._left.add(name)
        self._new.set()

    async def _claim(self, name: str, app: ASGIApp) -> None:
        with self._kept.claimed(name) as held:
            batch = await asyncio.to_thread(self._kept.read, name) if held else None
            if batch is None or batch.ended:
                await asyncio.sleep(LOOK_SECONDS)  # it is another's
                return
            await self._run(batch, app)

    async def _run(self, batch: Batch, app: ASGIApp) -> None:
        path = self._kept.input(batch.id)
        try:
            asked = await asyncio.to_thread(survey, path, batch.endpoint, MOST_LINES)
        except InvalidRequest as error:
            batch.fail(error, now())
            await asyncio.to_thread(self._kept.write, batch)
            return
        answers = self._kept.answers(batch.id)
        results = await asyncio.to_thread(Results.resume, answers, asked.ids)
        batch.total = len(asked.ids)
        if batch.status != "cancelling":
            batch.status = "in_progress"
            batch.in_progress_at = batch.in_progress_at or now()
            await self._note(batch, results)
        ending = await self._answer(batch, results, app)
        await self._end(batch, results, asked, ending)

    async def _answer(self, batch: Batch, results: Results, app: ASGIApp) -> Ending:
        """Have the lines answered, as long as somebody wants it."""
        sender = Sender(batch.caller, batch.owner)
        asker = Asker(app, self._alive, sender, self._room)
        lines = read_lines(self._kept.input(batch.id))
        watch = asyncio.create_task(self._watch(batch, results))
        work = asyncio.create_task(answer_all(asker, lines, results, self._places(), lambda: None))
        try:
            await asyncio.wait((watch, work), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return Ending("completed")
            return watch.result()
        finally:
            for task in (watch, work):
                task.cancel()
            await asyncio.wait((watch, work))

    async def _watch(self, batch: Batch, results: Results) -> Ending:
        """Return when the batch has to end before all is answered; write down how far it is."""
        look = self._looks[batch.id]
        while True:
            if await asyncio.to_thread(self._kept.cancel_wished, batch.id) is not None:
                return Ending("cancelled")
            if now() >= batch.expires_at:
                return Ending("expired")
            if await asyncio.to_thread(self._folder.used) > self._folder.bounds.all_bytes:
                return Ending("failed", _full(self._folder.bounds.all_bytes))
            if batch.completed + batch.failed != len(results.done):
                await self._note(batch, results)
            look.clear()
            await _any(look, WATCH_SECONDS)

    async def _note(self, batch: Batch, results: Results) -> None:
        batch.failed = results.failed
        batch.completed = len(results.done) - results.failed
        await asyncio.to_thread(self._kept.write, batch)

    async def _end(self, batch: Batch, results: Results, asked: Survey, ending: Ending) -> None:
        batch.become("cancelling" if ending.status == "cancelled" else "finalizing", now())
        await self._note(batch, results)
        await asyncio.to_thread(self._write_files, batch, results, asked, ending)
        if ending.error is not None:
            batch.fail(ending.error, now())
        else:
            batch.become(ending.status, now())
        await asyncio.to_thread(self._kept.write, batch)

    def _write_files(self, batch: Batch, results: Results, asked: Survey, ending: Ending) -> None:
        """The files of answers and of errors, where there are any."""
        with tempfile.TemporaryFile() as good, tempfile.TemporaryFile() as bad:
            with results.path.open("rb") as answers:
                for line in answers:
                    (bad if answer_status(line) >= 400 else good).write(line)
            if ending.status == "expired":
                for name in sorted(asked.ids - results.done):
                    bad.write(error_line(name, "batch_expired", "Its time was over before."))
                    batch.failed += 1
            batch.output_file_id = self._add(batch, "output", good)
            batch.error_file_id = self._add(batch, "error", bad)

    def _add(self, batch: Batch, what: str, source: BinaryIO) -> str | None:
        size = source.tell()
        if not size:
            return None
        source.seek(0)
        # the same when it is written again, after an end in between
        digest = hashlib.sha256(f"{batch.id} {what}".encode()).hexdigest()[:32]
        name, created = f"{batch.id}_{what}.jsonl", now()
        file = StoredFile(
            f"file-{digest}",
            batch.owner,
            size,
            created,
            name,
            "batch_output",
            created + batch.kept_for,
        )
        self._folder.add_results(source, file)
        return file.id


def _full(most: int) -> InvalidRequest:
    return InvalidRequest(
        f"The files that are kept may have {most} bytes together, and there is no room for more"
        " answers.",
        hint="Delete files that are not needed, and ask for the rest in another batch; the"
        f" operator allows more with {option('max_files_bytes')}.",
    )


async def _any(event: asyncio.Event, seconds: float | None) -> None:
    """Return once something has happened, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
