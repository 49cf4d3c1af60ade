"""What the server answers, as values: those of `openllm.types` where there are such, else these."""

from __future__ import annotations

from array import array
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from sys import byteorder
from typing import Any

import attrs

from openllm.client.failures import misshapen
from openllm.types import (
    CompletionOutput,
    GenerationOutput,
    Message,
    TokenLogprob,
    ToolCall,
    Usage,
)

Json = Mapping[str, Any]


@attrs.frozen
class ChatAnswer:
    """One choice of a chat, whole. `raw` is the server's answer as it came."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage
    raw: Json = attrs.field(repr=False)

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class ChatDelta:
    """What is new of a chat's answer. The last one has the usage, and mostly no text."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()  # pieces, see `ToolCall`
    index: int = 0
    finish_reason: str | None = None
    usage: Usage | None = None


@attrs.frozen
class ServedModel:
    """A model, or an adapter on one, that requests may name."""

    id: str
    parent: str | None = None  # the base model of an adapter
    max_model_len: int | None = None  # tokens; None while it loads
    raw: Json = attrs.field(factory=dict, repr=False)  # as the server says it
    # What its messages may have, "text" and "image"; nothing where the server does not say it, as
    # while it loads.
    input_modalities: tuple[str, ...] = ()


@attrs.frozen
class Ranked:
    """One document of a ranking: its place in the list that was sent, and how relevant it is."""

    index: int
    score: float
    document: str | None = None


def read_generation(body: Json) -> GenerationOutput:
    """A native answer, whole, or one event of it. Errors: BadAnswer."""
    try:
        usage = body.get("usage") or {}
        return GenerationOutput(
            request_id=body["request_id"],
            prompt_token_ids=list(body.get("prompt_token_ids") or ()),
            outputs=[_output(item) for item in body["outputs"]],
            usage=read_usage(usage),
            prompt_logprobs=_logprobs(body.get("prompt_logprobs")),
        )
    except (KeyError, TypeError, AttributeError):
        raise misshapen("generated text") from None


def read_chat(body: Json) -> ChatAnswer:
    """Errors: BadAnswer."""
    try:
        choice = body["choices"][0]
        message = choice["message"]
        return ChatAnswer(
            text=message.get("content") or "",
            reasoning=message.get("reasoning_content") or "",
            tool_calls=tuple(
                _tool_call(call, at) for at, call in enumerate(message.get("tool_calls") or ())
            ),
            finish_reason=choice.get("finish_reason"),
            usage=read_usage(body.get("usage") or {}),
            raw=body,
        )
    except (KeyError, TypeError, AttributeError, IndexError):
        raise misshapen("message") from None


def read_chunk(body: Json) -> Iterator[ChatDelta]:
    """The deltas of one event of a streamed chat. Errors: BadAnswer."""
    try:
        for choice in body["choices"]:
            delta = choice["delta"]
            yield ChatDelta(
                text=delta.get("content") or "",
                reasoning=delta.get("reasoning_content") or "",
                tool_calls=tuple(_tool_call(call, 0) for call in delta.get("tool_calls") or ()),
                index=choice.get("index", 0),
                finish_reason=choice.get("finish_reason"),
            )
        if body.get("usage"):
            yield ChatDelta(usage=read_usage(body["usage"]))
    except (KeyError, TypeError, AttributeError):
        raise misshapen("chat chunk") from None


def read_usage(counts: Json) -> Usage:
    details = counts.get("prompt_tokens_details") or {}
    thoughts = counts.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=counts.get("prompt_tokens", 0),
        completion_tokens=counts.get("completion_tokens", 0),
        cached_tokens=counts.get("cached_tokens", details.get("cached_tokens", 0)),
        reasoning_tokens=thoughts.get("reasoning_tokens", 0),
    )


def read_models(body: Json) -> list[ServedModel]:
    """Errors: BadAnswer."""
    try:
        return [_served(item) for item in body["data"]]
    except (KeyError, TypeError, AttributeError):
        raise misshapen("list of models") from None


def _served(item: Json) -> ServedModel:
    said = item.get("architecture") or {}
    inputs = tuple(said.get("input_modalities") or ())
    return ServedModel(item["id"], item.get("parent"), item.get("max_model_len"), item, inputs)


def read_vectors(body: Json) -> list[list[float]]:
    """The vectors in the order of their texts. Errors: BadAnswer."""
    try:
        items = sorted(body["data"], key=lambda item: int(item["index"]))
        return [_vector(item["embedding"]) for item in items]
    except (KeyError, TypeError, ValueError):
        raise misshapen("vectors") from None


def read_ranking(body: Json) -> list[Ranked]:
    """Errors: BadAnswer."""
    try:
        return [
            Ranked(item["index"], float(item["relevance_score"]), _document(item.get("document")))
            for item in body["results"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise misshapen("ranking") from None


def plain_messages(messages: str | Sequence[Message | Json], system: str | None) -> list[Json]:
    """Messages as they are sent: a text is one of the user's; `system` goes before them."""
    turns: Sequence[Message | Json] = messages if not isinstance(messages, str) else ()
    told = [] if system is None else [{"role": "system", "content": system}]
    if isinstance(messages, str):
        return [*told, {"role": "user", "content": messages}]
    return [*told, *(_plain(turn) if isinstance(turn, Message) else turn for turn in turns)]


def _plain(message: Message) -> Json:
    found = {key: value for key, value in attrs.asdict(message).items() if value is not None}
    if "reasoning" in found:
        found["reasoning_content"] = found.pop("reasoning")
    return found


def _output(item: Json) -> CompletionOutput:
    return CompletionOutput(
        index=item["index"],
        text=item["text"],
        token_ids=list(item["token_ids"]),
        finish_reason=item.get("finish_reason"),
        stop_reason=item.get("stop_reason"),
        logprobs=_known(_logprobs(item.get("logprobs"))),
    )


def _logprobs(entries: Sequence[Json | None] | None) -> list[TokenLogprob | None] | None:
    if entries is None:
        return None
    return [None if entry is None else _logprob(entry) for entry in entries]


def _known(entries: list[TokenLogprob | None] | None) -> list[TokenLogprob] | None:
    return None if entries is None else [entry for entry in entries if entry is not None]


def _logprob(entry: Json) -> TokenLogprob:
    top = tuple((one["token_id"], one["logprob"]) for one in entry.get("top") or ())
    return TokenLogprob(entry["token_id"], entry["logprob"], entry.get("rank", 0), top)


def _tool_call(call: Json, at: int) -> ToolCall:
    function = call.get("function") or {}
    return ToolCall(
        index=call.get("index", at),
        arguments=function.get("arguments") or "",
        id=call.get("id"),
        name=function.get("name"),
    )


def _vector(value: str | Sequence[float]) -> list[float]:
    """Numbers, or base64 of 32-bit floats, little endian."""
    if not isinstance(value, str):
        return [float(number) for number in value]
    numbers = array("f", b64decode(value, validate=True))
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _document(value: object) -> str | None:
    text = value.get("text") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None
