"""A Bento and its models sent to BentoCloud by BentoML's own push, with our lines of progress in
place of its panel.

What is there completely is not sent again: a push that was cut off goes on with the next model or
the Bento itself.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import attrs
import bentoml
from bentoml.exceptions import BentoMLException

from openllm.bento.cloud.account import Account, conversation, refusal
from openllm.bento.pack.store import find_bento
from openllm.config.sizes import readable_size

Say = Callable[[str], None]

SECONDS_BETWEEN = 5.0  # lines about one upload
_FAILED = re.compile(r"Failed push\w* (?:Bento|model) \"[^\"]*\" ?: (.*)", re.DOTALL)
_THERE = re.compile(r"(?:Bento|Model) \"(.*?)\" already exists")
_QUOTED = re.compile(r'"(.*)"')


def push(account: Account, tag: str, say: Say) -> None:
    """Send the Bento `tag` of the local store and its models; `say` is given lines of progress.

    Errors: ServeError for no such Bento, DeployError.
    """
    full, _ = find_bento(tag)
    watch = Watch(say)
    action = f"push {full}"
    with conversation(account, action):
        try:
            attrs.evolve(account.client.bento, spinner=watch).push(bentoml.bentos.get(full))
        except BentoMLException as error:
            failed = refusal(account, action, watch.failure or str(error))
            failed.hint = failed.hint or "Run it again: what is there completely is not sent again."
            raise failed from None


@attrs.define
class Upload:
    """One archive on its way; sizes in bytes."""

    name: str
    total: int = 0
    sent: int = 0
    said: float = 0.0  # when a line was said about it last


class Uploads:
    """What BentoML reports on its archives: the part of rich's Progress that it uses. Called from
    several threads.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._uploads: list[Upload] = []

    def add_task(self, description: str, start: bool = True, visible: bool = True) -> int:
        quoted = _QUOTED.search(description)
        with self._lock:
            self._uploads.append(Upload(quoted[1] if quoted else description))
            return len(self._uploads) - 1

    def start_task(self, task: int) -> None:
        with self._lock:
            self._uploads[task].said = time.monotonic()

    def update(self, task: int, *, total: int | None = None, advance: int = 0, **_: Any) -> None:
        """`advance` is negative when a part is sent once more."""
        with self._lock:
            upload = self._uploads[task]
            upload.total = upload.total if total is None else total
            before, upload.sent = upload.sent, upload.sent + advance
            now = time.monotonic()
            done = before < upload.total <= upload.sent
            if done or (advance > 0 and upload.total and now - upload.said >= SECONDS_BETWEEN):
                upload.said = now
                sent = readable_size(upload.sent)
                part = f"{sent} of {readable_size(upload.total)} of {upload.name}"
                self._say(f"Sent {upload.name} ({sent})." if done else f"Sent {part}.")


class Watch:
    """Stands where BentoML expects its Spinner: the part of it that a push uses."""

    def __init__(self, say: Say) -> None:
        self.transmission_progress = Uploads(say)
        # The first reason why something was not uploaded; it is in no exception.
        self.failure: str | None = None
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    @contextmanager
    def spin(self, text: str) -> Iterator[int]:
        """A step that is not worth a line."""
        yield 0

    def log(self, message: str) -> None:
        if (failed := _FAILED.search(message)) is not None:
            self.failure = self.failure or failed[1]
        elif (there := _THERE.search(message)) is not None:
            self._say(f"{there[1]} is on BentoCloud already.")
