"""The parts of an answer as the items of a response; each step also as the events of a stream."""

from __future__ import annotations

import secrets
from itertools import accumulate
from typing import Any

import msgspec

from openllm.protocols.openai.logprobs import ChatLogprobs
from openllm.types import AnswerDelta, CompletionOutput, Part, Reasoning, Refusal, Text, ToolCall

_encode = msgspec.json.encode
_TEXT, _REFUSAL, _THOUGHT = "output_text", "refusal", "reasoning_text"


def event(kind: str, number: int, **fields: Any) -> bytes:
    """One event of a stream."""
    data = _encode({"type": kind, "sequence_number": number, **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class Output:
    """The items of one answer.

    The frames of deltas are cut when their item is begun: a delta fills in its text and its number.
    """

    def __init__(self, logprobs: ChatLogprobs | None) -> None:
        self.number = 0  # of the next event
        self.items: list[dict[str, Any]] = []  # those that have ended
        self._logprobs = logprobs
        self._open: _Item | None = None
        self._blank = ""  # white space that stands before a text, or before nothing
        self._scores: list[dict[str, Any]] = []  # of tokens whose text is still to come

    def add(self, delta: AnswerDelta | CompletionOutput) -> bytes:
        """What is new, in its order, as events."""
        opened = self._open
        if not delta.parts and self._logprobs is None and opened is not None and opened.is_text:
            return self._grow(opened, delta.text) if delta.text else b""
        if self._logprobs is not None and delta.logprobs:
            self._scores += self._logprobs.encode(delta.logprobs)["content"]
        parts = delta.parts or ((Text(delta.text),) if delta.text else ())
        frames = b"".join(map(self._put, parts))
        if parts and not isinstance(parts[-1], Text):
            self._scores.clear()
        return frames

    def close(self, *, complete: bool) -> bytes:
        """The end of the answer. A complete one that neither says nor calls anything has an empty
        text.
        """
        frames = self._end("completed" if complete else "incomplete")
        if complete and not any(item["type"] != "reasoning" for item in self.items):
            frames += self._begin(_Item(_TEXT, len(self.items))) + self._end("completed")
        return frames

    def so_far(self) -> list[dict[str, Any]]:
        """The items that have ended, and the one that has not."""
        return [*self.items, *([] if self._open is None else [self._open.whole("incomplete")])]

    def _put(self, part: Part) -> bytes:
        if isinstance(part, ToolCall):
            return self._call(part)
        kind = _kind(part)
        opened, text = self._open, part.text
        if opened is not None and opened.part == kind:
            return self._grow(opened, text)
        if kind == _TEXT:
            self._blank = text = self._blank + text
            if not text.strip():
                return b""
        frames = self._end("completed") + self._begin(_Item(kind, len(self.items)))
        assert self._open is not None  # noqa: S101  it has been begun
        return frames + self._grow(self._open, text)

    def _call(self, call: ToolCall) -> bytes:
        frames = b""
        if call.id is not None or self._open is None:
            self._scores.clear()
            frames = self._end("completed") + self._begin(_Item(None, len(self.items), call))
        assert self._open is not None  # noqa: S101  it has been begun
        return frames + self._grow(self._open, call.arguments) if call.arguments else frames

    def _begin(self, item: _Item) -> bytes:
        self._open = item
        self._blank = ""
        at = item.at
        frames = self._event("response.output_item.added", output_index=at, item=item.begun())
        if item.part is not None:
            frames += self._event(
                "response.content_part.added", **item.place, part=item.content(begun=True)
            )
        return frames

    def _grow(self, item: _Item, text: str) -> bytes:
        item.pieces.append(text)
        number, self.number = self.number, self.number + 1
        if not self._scores or not item.is_text:
            return item.start + _encode(text) + item.end % number
        scores, self._scores = _of_text(self._scores, text), []
        item.scores += scores
        tail = b',"logprobs":' + _encode(scores) + b',"sequence_number":%d}\n\n' % number
        return item.start + _encode(text) + tail

    def _end(self, status: str) -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        said = {item.said: item.text()}
        if item.part is None:
            frames = self._event(item.done, **item.place, **said, name=item.name)
        else:
            scores = {"logprobs": item.scores} if item.is_text else {}
            frames = self._event(item.done, **item.place, **said, **scores)
            frames += self._event("response.content_part.done", **item.place, part=item.content())
        whole = item.whole(status)
        self.items.append(whole)
        return frames + self._event("response.output_item.done", output_index=item.at, item=whole)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self.number = self.number, self.number + 1
        return event(kind, number, **fields)


def _of_text(scores: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Those of the tokens that `text` is made of: not the marks before it, not the end after it."""
    ends = list(accumulate(len(score["bytes"]) for score in scores))
    data = text.encode()
    begin = b"".join(bytes(score["bytes"]) for score in scores).rfind(data)
    if begin < 0:  # an earlier delta has had a part of it
        return scores
    end = begin + len(data)
    begins = (0, *ends)
    places = zip(scores, begins, ends, strict=False)
    return [score for score, first, last in places if first < end and last > begin]


def _kind(part: Text | Reasoning | Refusal) -> str:
    if isinstance(part, Text):
        return _TEXT
    return _THOUGHT if isinstance(part, Reasoning) else _REFUSAL


_PREFIXES = {_TEXT: "msg", _REFUSAL: "msg", _THOUGHT: "rs", None: "fc"}
_EVENTS = {
    _TEXT: "response.output_text",
    _REFUSAL: "response.refusal",
    _THOUGHT: "response.reasoning_text",
    None: "response.function_call_arguments",
}


class _Item:
    """An item while it is written: one content of kind `part`, or a call."""

    def __init__(self, part: str | None, at: int, call: ToolCall | None = None) -> None:
        self.part = part
        self.at = at  # its place among the items
        self.is_text = part == _TEXT
        self.pieces: list[str] = []
        self.scores: list[dict[str, Any]] = []
        self.id = f"{_PREFIXES[part]}_{secrets.token_hex(24)}"
        self.name = "" if call is None else call.name or ""
        self._call_id = (call and call.id) or self.id
        self.done = f"{_EVENTS[part]}.done"
        self.said = {None: "arguments", _REFUSAL: "refusal"}.get(part, "text")
        self.place: dict[str, Any] = {"item_id": self.id, "output_index": at}
        if part is not None:
            self.place["content_index"] = 0
        kind = f"{_EVENTS[part]}.delta"
        head = _encode({"type": kind, **self.place})[:-1]
        self.start = b"event: " + kind.encode() + b"\ndata: " + head + b',"delta":'
        scores = b',"logprobs":[]' if self.is_text else b""
        self.end = scores + b',"sequence_number":%d}\n\n'

    def text(self) -> str:
        return "".join(self.pieces)

    def content(self, *, begun: bool = False) -> dict[str, Any]:
        """The content as a part of the item."""
        text = "" if begun else self.text()
        if not self.is_text:
            return {"type": self.part, self.said: text}
        scores = [] if begun else self.scores
        return {"type": self.part, "text": text, "annotations": [], "logprobs": scores}

    def begun(self) -> dict[str, Any]:
        """The item before anything is in it."""
        return self._item("in_progress", [], "")

    def whole(self, status: str) -> dict[str, Any]:
        return self._item(status, [self.content()] if self.part else [], self.text())

    def _item(self, status: str, content: list[dict[str, Any]], text: str) -> dict[str, Any]:
        head: dict[str, Any] = {"id": self.id, "status": status}
        if self.part is None:
            called = {"call_id": self._call_id, "name": self.name, "arguments": text}
            return {**head, "type": "function_call", **called}
        if self.part == _THOUGHT:
            return {**head, "type": "reasoning", "summary": [], "content": content}
        return {**head, "type": "message", "role": "assistant", "content": content}
