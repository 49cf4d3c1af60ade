"""The two kinds of lines: a request, and its answer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import attrs
import msgspec

from openllm.errors import InvalidRequest, option
from openllm.http.inside import Answer

URLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
LONGEST_ID = 512  # characters


@attrs.frozen
class BatchLine:
    """One request of a batch."""

    number: int  # of its line, from 1
    custom_id: str
    url: str
    body: dict[str, Any]


class BadLine(InvalidRequest):
    """A line that is no request: its `number` in the file, from 1, and what is wrong with it."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"Line {number}: {why}.", hint="Correct the line; nothing was run.")
        self.number = number


@attrs.frozen
class Survey:
    """What a whole input file asks for."""

    ids: frozenset[str]
    models: frozenset[str]  # that lines name


def read_lines(path: Path) -> Iterator[BatchLine]:
    """The requests of a file, blank lines left out. Errors: InvalidRequest, naming the line."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield read_line(number, text)


def survey(path: Path, url: str | None = None, most: int | None = None) -> Survey:
    """Read a whole file before any of it is answered. Errors: InvalidRequest, for the first line
    that is not a request, has the `custom_id` of another, or another `url` than is said here, and
    for a file without a line, or with more than `most`.
    """
    numbers: dict[str, int] = {}
    models: set[str] = set()
    for line in read_lines(path):
        first = numbers.setdefault(line.custom_id, line.number)
        if first != line.number:
            _bad(line.number, f"its custom_id {line.custom_id!r} is that of line {first}")
        if url is not None and line.url != url:
            _bad(line.number, f"its url must be the batch's, {url}")
        if most is not None and len(numbers) > most:
            _bad(line.number, f"a batch has at most {most} requests")
        if model := line.body.get("model"):
            models.add(model)
    if not numbers:
        raise InvalidRequest("The file has no requests.", hint="Each line is one, as JSON.")
    return Survey(frozenset(numbers), frozenset(models))


def read_line(number: int, text: bytes) -> BatchLine:
    """Errors: InvalidRequest."""
    try:
        line = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _bad(number, f"it is not JSON ({error})")
    if not isinstance(line, dict):
        _bad(number, "it is not an object")
    name, url, body = line.get("custom_id"), line.get("url"), line.get("body")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID:
        _bad(number, f"custom_id must be a text of 1 to {LONGEST_ID} characters")
    if line.get("method", "POST") != "POST":
        _bad(number, "method must be POST")
    if url not in URLS:
        _bad(number, f"url must be one of {', '.join(URLS)}")
    if not isinstance(body, dict):
        _bad(number, "body must be an object")
    if not isinstance(body.get("model", ""), str | None):
        _bad(number, "body.model must be a text")
    for wish in ("stream", "background"):
        if body.get(wish):
            _bad(number, f"body.{wish} cannot be true: a batch has whole answers")
    return BatchLine(number, name, url, body)


def _bad(number: int, why: str) -> NoReturn:
    raise BadLine(number, why)


def answer_line(line: BatchLine, answer: Answer) -> bytes:
    """The line of the output file for one request, its line break included."""
    written = {
        "id": f"batch_req_{uuid.uuid4().hex}",
        "custom_id": line.custom_id,
        "response": {
            "status_code": answer.status,
            "request_id": answer.headers.get(b"x-request-id", b"").decode(),
            "body": msgspec.Raw(answer.body),
        },
        "error": None,
    }
    return msgspec.json.encode(written) + b"\n"


def error_line(custom_id: str, code: str, message: str) -> bytes:
    """The line of the file of errors for a request that was never asked."""
    written = {
        "id": f"batch_req_{uuid.uuid4().hex}",
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return msgspec.json.encode(written) + b"\n"


def answer_status(line: bytes) -> int:
    """The status of an answer that was written down."""
    return msgspec.json.decode(line, type=_Written).response.status_code


class _Response(msgspec.Struct):
    status_code: int


class _Written(msgspec.Struct):
    custom_id: str
    response: _Response


@attrs.define
class Results:
    """The answers there are: a file that grows line by line, so that a run that was cut off goes on
    where it was.
    """

    path: Path
    done: set[str] = attrs.field(factory=set)  # ids of requests that need not be asked again
    failed: int = 0  # of those, answered with an error

    @classmethod
    def resume(cls, path: Path, ids: frozenset[str]) -> Results:
        """What an earlier run left in `path`, if anything. An answer that was cut off, and one that
        tells of a fault of the server, are taken out: their requests are asked again.

        Errors: InvalidRequest where `path` holds something else than answers to `ids`.
        """
        found = cls(path)
        if not path.exists():
            path.touch()
            return found
        aside = path.with_name(f"{path.name}.part")
        with path.open("rb") as old, aside.open("wb") as new:
            for number, text in enumerate(old, 1):
                if text.endswith(b"\n") and found._takes(number, text, ids):
                    new.write(text)
        aside.replace(path)
        return found

    def _takes(self, number: int, text: bytes, ids: frozenset[str]) -> bool:
        try:
            line = msgspec.json.decode(text, type=_Written)
        except msgspec.DecodeError:
            line = None
        if line is None or line.custom_id not in ids:
            raise InvalidRequest(
                f"{self.path} has no answers to this input: its line {number} is another's.",
                hint=f"Give another file to {option('output')}.",
                param="output",
            )
        if line.response.status_code >= 500 or line.custom_id in self.done:
            return False
        self._count(line.custom_id, line.response.status_code)
        return True

    def add(self, line: BatchLine, answer: Answer) -> None:
        """Write an answer down."""
        with self.path.open("ab") as file:
            file.write(answer_line(line, answer))
        self._count(line.custom_id, answer.status)

    def _count(self, custom_id: str, status: int) -> None:
        self.done.add(custom_id)
        self.failed += status >= 400
