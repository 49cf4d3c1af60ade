"""One streamed answer, read off the bytes of a connection: when its events came, and how many
tokens it has.
"""

from __future__ import annotations

import attrs
import httptools
import msgspec

from openllm.client import failures
from openllm.client.connection import END
from openllm.client.sse import EventReader

OK = 200


@attrs.define
class Exchanged:
    """One request as its sender saw it: times in seconds of the machine's monotonic clock."""

    sent: float
    first: float = 0.0  # when the first event with something in it came; 0: none has
    last: float = 0.0
    gaps: list[float] = attrs.field(factory=list)  # seconds between such events
    tokens: int = 0  # of the answer, as the server counts them
    prompt_tokens: int = 0
    late: float = 0.0  # seconds after it was due; of open loops
    error: str = ""


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def empty(self) -> bool:
        """Whether it only says whose turn it is."""
        said = self.content or self.reasoning_content or self.reasoning
        return not said and bytes(self.tool_calls) in {b"null", b"[]"}


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


class StreamReader:
    """Reads one HTTP answer into an `Exchanged`; httptools calls its `on_` methods."""

    def __init__(self, exchanged: Exchanged) -> None:
        self.exchanged = exchanged
        self.complete = False
        self.keeps_alive = False  # whether the connection can be used again
        self._parser = httptools.HttpResponseParser(self)
        self._events = EventReader()
        self._decoder = msgspec.json.Decoder(_Event)
        self._status = 0
        self._text = bytearray()  # of an answer that is none
        self._ended = False
        self._now = 0.0

    def feed(self, data: bytes, now: float) -> None:
        """Take what has come. Errors: HttpParserError."""
        self._now = now
        self._parser.feed_data(data)

    def cut(self) -> None:
        """The connection is gone."""
        if not self._ended:
            self.exchanged.error = self.exchanged.error or "The answer broke off before its end."

    def on_headers_complete(self) -> None:
        self.keeps_alive = bool(self._parser.should_keep_alive())
        self._status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        if self._status != OK:
            self._text += piece
            return
        for text in self._events.feed(piece):
            if text == END:
                self._ended = True
            elif not self._ended:
                self._take(text)

    def on_message_complete(self) -> None:
        exchanged = self.exchanged
        self.complete = True
        if self._status != OK:
            text = self._text.decode("utf-8", "replace")
            exchanged.error = str(failures.refused(self._status, "", text, None))
        elif not self._ended:
            self.cut()
        elif not exchanged.first and not exchanged.error:
            exchanged.error = "The answer has no text."
        if not exchanged.tokens and exchanged.first:  # a server that does not count them
            exchanged.tokens = 1 + len(exchanged.gaps)

    def _take(self, text: str) -> None:
        try:
            event = self._decoder.decode(text)
        except msgspec.DecodeError:
            self.exchanged.error = "An event of the answer is not what was expected."
            return
        if bytes(event.error) != b"null":
            self.exchanged.error = str(failures.refused(0, "", text, None))
        if event.usage is not None:
            self.exchanged.tokens = event.usage.completion_tokens
            self.exchanged.prompt_tokens = event.usage.prompt_tokens
        if event.choices and not self._only_role(event.choices[0]):
            self._note()

    def _only_role(self, choice: _Choice) -> bool:
        return choice.delta is not None and choice.delta.empty and choice.finish_reason is None

    def _note(self) -> None:
        """Something of the answer came."""
        exchanged = self.exchanged
        if exchanged.first:
            exchanged.gaps.append(self._now - exchanged.last)
        else:
            exchanged.first = self._now
        exchanged.last = self._now
