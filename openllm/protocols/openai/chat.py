"""POST /v1/chat/completions: OpenAI's chat requests to a conversation, deltas to its chunks and
choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
from starlette.routing import Route

from openllm.answer.generation import Generation
from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.http.body.sampling import add_limit
from openllm.http.catalog import Catalog, Target
from openllm.http.dialect import Dialect
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.llm.formats import reasoning_of
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.logprobs import ChatLogprobs, prompt_table
from openllm.protocols.openai.messages import (
    EFFORT,
    MAX_EFFORT,
    NO_EFFORT,
    effort_unasked,
    read_conversation,
    with_effort,
)
from openllm.protocols.openai.models import meant
from openllm.protocols.openai.params import (
    BUDGETS,
    Handling,
    StreamOptions,
    read_rest,
    read_sampling,
    read_stream,
)
from openllm.protocols.openai.parts import delta_of, has_calls, message
from openllm.protocols.openai.shapes import chunk_end, ending, head, last_frame, usage_object
from openllm.types import (
    AnswerDelta,
    CompletionOutput,
    Conversation,
    GenerationOutput,
    Text,
    Usage,
)

PATH = "/v1/chat/completions"
CHAT = OPENAI.renamed(prompt="messages")
LIMITED = CHAT.renamed(max_tokens="max_completion_tokens")  # for those who call it so
_encode = msgspec.json.encode


@attrs.frozen
class ChatRequest:
    """A parsed body."""

    model: str | None
    conversation: Conversation
    overrides: dict[str, Any]
    stream: StreamOptions
    asked: Handling
    top_logprobs: int | None = None
    dialect: Dialect = CHAT
    budget: str | None = None  # the field that says how long it may think


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def chat(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await exchange.apart(read_chat, fields, settings)
        exchange.dialect = request.dialect
        target = catalog.running(meant(catalog, request.model), "generate")
        if effort_unasked(request.conversation, target):
            fields.note(EFFORT)
        tools = bool(request.conversation.tools)
        if request.budget is not None and reasoning_of(target.llm, tools=tools) is None:
            fields.note(request.budget)
        exchange.rename(request.asked.request_id)
        wire = ChatWire(request, target, exchange)
        work = Work(
            target,
            [request.conversation],
            request.overrides,
            request.stream.stream,
            add_special_tokens=False,
            reading=None,
            options=request.asked.options,
            admitted=wire.admit,
        )
        await respond(exchange, work, wire)

    return [Route(PATH, Endpoint(PATH, chat, CHAT), methods=["POST"])]


def read_chat(fields: Fields, settings: Settings) -> ChatRequest:
    """The body of a chat request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model = fields.text("model")
    budget = next((name for name in BUDGETS if fields.said(name)), None)
    overrides = read_sampling(fields, settings)
    stream = read_stream(fields)
    effort = fields.text(EFFORT, longest=MAX_EFFORT)
    conversation = with_effort(read_conversation(fields, settings), effort)
    if effort == NO_EFFORT:
        overrides.setdefault("thinking_budget", 0)
    limit = add_limit(fields, "max_completion_tokens", overrides)
    if overrides.get("max_tokens") == 0:
        fields.bad("max_tokens", "must be at least 1")
    top = _top_logprobs(fields, settings)
    if top is not None:
        overrides["logprobs"] = top
    if stream.stream and "prompt_logprobs" in overrides:
        fields.bad("prompt_logprobs", "cannot be streamed", hint="Set stream to false.")
    _refuse_others(fields)
    asked = read_rest(fields)
    fields.close()
    dialect = CHAT if limit is None else LIMITED
    return ChatRequest(model, conversation, overrides, stream, asked, top, dialect, budget)


def _top_logprobs(fields: Fields, settings: Settings) -> int | None:
    wanted = fields.flag("logprobs")
    top = fields.integer("top_logprobs", 0, settings.max_logprobs)
    if top and not wanted:
        fields.bad("top_logprobs", "needs logprobs to be true")
    return (top or 0) if wanted else None


def _refuse_others(fields: Fields) -> None:
    fields.refuse("web_search_options", "This server has no search.")
    fields.pass_over("verbosity", "Say it in a message.", "medium")
    fields.refuse("moderation", "This server has no moderation.")


class ChatWire:
    """The answer to one chat request. A stream's frames are cut in advance; a delta fills in its
    text.
    """

    def __init__(self, request: ChatRequest, target: Target, exchange: Exchange) -> None:
        self._llm = llm = target.llm
        top = request.top_logprobs
        self._logprobs = None if top is None else ChatLogprobs(llm.token_table, top)
        self._usage = request.stream.include_usage
        self._so_far = request.stream.usage_so_far
        self._token_ids = request.asked.token_ids
        self._plain = not (self._logprobs or self._so_far or self._token_ids)
        self._generations: Sequence[Generation] = ()
        self._called: set[int] = set()  # choices that have called a tool
        created, request_id = exchange.created, exchange.request_id
        self._head = head("chatcmpl", "chat.completion", target, created, request_id)
        if request.stream.stream:
            self._cut_frames(request.overrides.get("n", 1))

    def admit(self, generations: Sequence[Generation]) -> None:
        """What the answer is made of."""
        self._generations = generations

    def _cut_frames(self, n: int) -> None:
        head = {**self._head, "object": "chat.completion.chunk"}
        self._start = b"data: " + _encode(head)[:-1]
        starts = [
            b'%s,"choices":[{"index":%d,"delta":' % (self._start, index) for index in range(n)
        ]
        self._starts = starts
        self._texts = [start + b'{"content":' for start in starts]
        self._end = b',"usage":null}\n\n' if self._usage else b"}\n\n"
        self._after_text = b'},"logprobs":null,"finish_reason":null}]' + self._end

    def opening(self) -> bytes:
        role = (
            b'{"role":"assistant","content":"","refusal":null}'
            b',"logprobs":null,"finish_reason":null}]'
        )
        if self._token_ids:
            role += b',"prompt_token_ids":' + _encode(self._generations[0].prompt_token_ids)
        role += self._close()
        return b"".join(start + role for start in self._starts)

    def _close(self) -> bytes:
        """What stands behind the choices of a chunk."""
        if not self._so_far:
            return self._end
        return chunk_end([generation.usage for generation in self._generations])

    def delta(self, delta: AnswerDelta) -> bytes:
        if delta.finish_reason is None and self._plain and not delta.parts:
            return (
                self._texts[delta.index] + _encode(delta.text) + self._after_text
                if delta.text
                else b""
            )
        return self._whole_delta(delta)

    def _whole_delta(self, delta: AnswerDelta) -> bytes:
        frames = b""
        shows_ids = self._token_ids and bool(delta.token_ids)
        logprobs = (
            None
            if self._logprobs is None or not delta.logprobs
            else self._logprobs.encode(delta.logprobs)
        )
        if delta.parts or delta.text or logprobs or shows_ids:
            ids = b',"token_ids":' + _encode(delta.token_ids) if shows_ids else b""
            tail = b'},"logprobs":' + _encode(logprobs) + b',"finish_reason":null' + ids + b"}]"
            tail += self._close()
            first, *others = delta.parts or (Text(delta.text),)
            frames = self._starts[delta.index] + delta_of(first) + tail
            after = b'},"logprobs":null,"finish_reason":null}]' + self._close()
            start = self._starts[delta.index]
            frames += b"".join(start + delta_of(part) + after for part in others)
            if has_calls(delta.parts):
                self._called.add(delta.index)
        if delta.finish_reason is not None:
            end = ending(delta, called=delta.index in self._called)
            last = b'{},"logprobs":null,' + _encode(end)[1:] + b"]" + self._close()
            frames += self._starts[delta.index] + last
        return frames

    def closing(self, usage: Usage) -> bytes:
        if not self._usage:
            return OPENAI.end
        return self._start + last_frame(usage)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        output = outputs[0]
        answer: dict[str, Any] = {
            **self._head,
            "choices": [self._choice(choice) for choice in output.outputs],
        }
        answer["usage"] = usage_object(output.usage)
        if output.prompt_logprobs is not None:
            answer["prompt_logprobs"] = prompt_table(self._llm.token_table, output.prompt_logprobs)
        if self._token_ids:
            answer["prompt_token_ids"] = output.prompt_token_ids
        return _encode(answer)

    def _choice(self, choice: CompletionOutput) -> dict[str, Any]:
        return {
            "index": choice.index,
            "message": message(choice),
            "logprobs": None if self._logprobs is None else self._logprobs.encode(choice.logprobs),
            **ending(choice, called=has_calls(choice.parts)),
            **({"token_ids": choice.token_ids} if self._token_ids else {}),
        }
