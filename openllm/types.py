"""The values that travel between the layers: requests on the way down, deltas on the way up."""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import attrs
import msgspec

from openllm.errors import OpenLLMError

FinishReason = Literal["stop", "length", "cancelled", "error"]


class StructureKind(enum.StrEnum):
    """What `Structure.value` holds."""

    JSON_SCHEMA = "json_schema"  # a JSON schema as text
    JSON_OBJECT = "json_object"  # nothing: any JSON object
    REGEX = "regex"
    CHOICE = "choice"  # a JSON array of strings, as text
    GRAMMAR = "grammar"  # a GBNF grammar with the rule `root`


@attrs.frozen
class Structure:
    """What the text of an answer must look like, token by token."""

    kind: StructureKind
    value: str = ""


@attrs.frozen
class SamplingParams:
    """How one request is sampled; the names and ranges are OpenAI's and vLLM's.

    `None` means "not said": the caller's layer fills it from the family's defaults (see
    `LLM.sampling_params`).
    """

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0  # (0, 1]
    top_k: int = 0  # 0 or -1: off
    min_p: float = 0.0  # [0, 1]
    repetition_penalty: float = 1.0  # > 0; over prompt and answer
    presence_penalty: float = 0.0  # [-2, 2]; over the answer
    frequency_penalty: float = 0.0  # [-2, 2]; over the answer
    logit_bias: Mapping[int, float] = attrs.field(factory=dict)  # token id -> [-100, 100]
    allowed_token_ids: tuple[int, ...] = ()  # nothing else may come; empty: all may
    bad_words: tuple[str, ...] = ()  # that the answer must not have, as their tokens spell them
    seed: int | None = None  # choice i of n samples with seed + i
    max_tokens: int | None = None  # None: up to the context's end
    min_tokens: int = 0  # no end of sequence and no stop before that many tokens
    stop: tuple[str, ...] = ()  # matched on the text, across tokens, and cut off
    stop_token_ids: tuple[int, ...] = ()  # that end the answer like its end of sequence
    include_stop: bool = False  # keep the stop string in the text
    ignore_eos: bool = False  # go on to max_tokens
    skip_special_tokens: bool = True  # leave them out of the text
    n: int = 1  # choices
    logprobs: int | None = None  # None: none; k: the chosen token's and the k best
    prompt_logprobs: int | None = None  # the same of the prompt's tokens
    structure: Structure | None = None  # what the answer must follow, such as a JSON schema
    # Tokens of the thought, which is then closed; None: any number. No engine sees it.
    thinking_budget: int | None = None


@attrs.frozen
class Image:
    """An image in a message, not looked at yet: a `data:` URI with its file, or the http(s) URL of
    one. It stands in `Message.content` as `{"type": "image", "image": Image(...)}`.
    """

    url: str = attrs.field(repr=lambda url: repr(url[:32]))
    param: str | None = None  # what its sender calls it

    @property
    def name(self) -> str:
        """What an error calls it."""
        return f"{self.param}:" if self.param is not None else "An image"


@attrs.frozen
class Message:
    """One turn of a conversation as the chat template sees it."""

    role: str
    content: str | Sequence[Mapping[str, Any]] | None = None
    name: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None  # what the model thought before it said this


@attrs.frozen
class ToolUse:
    """What a caller wants of the tools in a conversation."""

    required: bool = False  # the answer is a call, or several
    allowed: frozenset[str] | None = None  # names of those that may be called; None: all
    # Several calls in one answer; None: as the model likes, but one where a call is required, for a
    # weak model that is kept to calls finds no end of them.
    parallel: bool | None = None
    strict: frozenset[str] = frozenset()  # names of those whose arguments must keep to their schema

    @property
    def several(self) -> bool:
        """Whether one answer may call more than once."""
        return not self.required if self.parallel is None else self.parallel

    @property
    def constrains(self) -> bool:
        """Whether a model left to itself may do otherwise."""
        return self.required or self.allowed is not None or bool(self.strict)


@attrs.frozen
class Conversation:
    """A prompt made of messages, rendered by the tokenizer's chat template."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    template_kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    tool_use: ToolUse = attrs.field(factory=ToolUse)
    documents: tuple[Mapping[str, Any], ...] = ()  # that the answer may draw on


Prompt = str | Sequence[int] | Conversation


def new_request_id() -> str:
    """128 random bits in hexadecimal. It names a request and opens nothing, so it need not be hard
    to guess.
    """
    return f"{random.getrandbits(128):032x}"


@attrs.frozen
class Reading:
    """In which formats an answer is read; None: what the model writes is text."""

    reasoning: str | None = None  # a module of openllm.answer.reasoning
    tools: str | None = None  # a module of openllm.answer.tools
    # the tools, as in `Conversation.tools`: by their schemas some formats tell 5 from "5"
    declared: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen
class RequestOptions:
    """How a request is handled, beside its sampling."""

    truncate_prompt_tokens: int | None = None  # keep that many, the last; -1: all that fit
    priority: int = 0  # the lower, the sooner; where the engine has `BackendInfo.priorities`
    cache_salt: str | None = None  # cached prompts are shared among those of one salt alone


@attrs.frozen
class GenerationRequest:
    """What a caller asks of an `LLM`: one prompt, `params.n` choices."""

    prompt: Prompt
    params: SamplingParams = attrs.field(factory=SamplingParams)
    adapter: str | None = None
    request_id: str = attrs.field(factory=new_request_id)
    add_special_tokens: bool = True  # for text prompts; a rendered conversation never gets them
    # None: in the formats that the model has
    reading: Reading | None = attrs.field(factory=Reading)
    cut_to_room: bool = False  # a max_tokens that does not fit the context is cut, not refused
    options: RequestOptions = attrs.field(factory=RequestOptions)


@attrs.frozen
class PromptImages:
    """The images of one prompt, in its order. `text` is the prompt in which each is one mark, and
    `marked_ids` its tokens; in `TokenRequest.prompt_token_ids` each has as many tokens as the model
    takes for it.
    """

    files: tuple[bytes, ...]  # as they came, decoded once and found good
    key: str  # tells them from all others
    text: str
    marked_ids: list[int]
    end: int  # tokens of the prompt up to the end of the last image
    tokens: int  # of the prompt
    # What the model's own processor made of them, for an engine in this process; never sent.
    features: Mapping[str, Any] | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class TokenRequest:
    """What an `LLM` asks of a backend: token ids in, `TokenDelta`s out. `params.stop` is not the
    backend's to match.

    `params.max_tokens` is always set, and prompt plus max_tokens fit the context.
    """

    request_id: str
    prompt_token_ids: list[int]
    params: SamplingParams
    adapter: str | None = None
    arrival: float = attrs.field(factory=time.monotonic)
    bad_token_ids: tuple[tuple[int, ...], ...] = ()  # none of these runs may be completed
    priority: int = 0
    cache_salt: str | None = None
    images: PromptImages | None = None


@attrs.frozen
class EncodedText:
    """A text, or a pair of texts, for a model that gives labels. In a pair the tokens from `second`
    on have the token type 1; None: all have the type 0, or the model knows no types.
    """

    token_ids: list[int]
    second: int | None = None


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The log probability of one token and of the best alternatives (natural logarithm, before
    temperature).
    """

    token_id: int
    logprob: float
    rank: int = 0  # 1 is the most likely; 0 unknown
    top: tuple[tuple[int, float], ...] = ()  # (token id, logprob), best first


class TokenDelta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """New tokens of one choice. The last delta of each choice, and no other, has a
    finish_reason.
    """

    token_ids: list[int]
    index: int = 0
    finish_reason: FinishReason | None = None
    stop_reason: int | None = None  # the stop token that ended it, if it was one
    logprobs: list[TokenLogprob] | None = None  # one per token id, when asked for
    prompt_logprobs: list[TokenLogprob | None] | None = (
        None  # on the first delta of choice 0; the first entry is None
    )
    cached_tokens: int = 0  # prompt tokens that were not computed again (first delta)
    error: str | None = None  # with finish_reason "error"
    # `time.monotonic()` when its engine began with the request (first delta); None: not known
    begun: float | None = None


class Text(msgspec.Struct, frozen=True, tag="text", gc=False):
    """A piece of what the model answers."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", gc=False):
    """A piece of what the model thinks before it answers."""

    text: str


class Refusal(msgspec.Struct, frozen=True, tag="refusal", gc=False):
    """A piece of why the model will not answer."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", gc=False):
    """A piece of a call of a tool. The first piece of each call, and no other, has `id` and `name`.

    `index` counts the calls of one choice from 0; `arguments` is JSON text, a fragment of it while
    it comes in pieces.
    """

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


Part = Text | Reasoning | Refusal | ToolCall


class AnswerDelta(msgspec.Struct, frozen=True, gc=False):
    """What is new of one choice's answer: what a protocol turns into bytes. Same terminal rule as
    `TokenDelta`.

    `text` is all that is new of the answer's text. `parts` is what came, in its order, where the
    answer is read for more than text (see `GenerationRequest.reading`); else it is empty, and the
    text is all there is. `token_ids` are the engine's tokens of this delta; while something is held
    back (a stop string may be forming) a delta may have tokens and no text. `stop_reason` is the
    stop string or stop token id that ended the choice.
    """

    text: str
    token_ids: list[int]
    index: int = 0
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    logprobs: list[TokenLogprob] | None = None
    prompt_logprobs: list[TokenLogprob | None] | None = None
    cached_tokens: int = 0
    error: str | None = None
    parts: tuple[Part, ...] = ()


Delta_contra = TypeVar("Delta_contra", contravariant=True)


class Sink(Protocol[Delta_contra]):
    """Where the deltas of one request are put, on the event loop it was begun on.

    Each choice ends with exactly one delta that has a finish_reason; `fail` ends all that are still
    open, and nothing follows it. Neither method raises and neither waits: while whoever is behind
    it is not ready, a sink joins what comes.
    """

    def put(self, delta: Delta_contra, /) -> None: ...

    def fail(self, error: OpenLLMError, /) -> None: ...


class Running(Protocol):
    """A request that an engine has. Both may be called at any time, also when it is over."""

    def cancel(self) -> None:
        """Nobody wants it any more: its sink gets nothing from now on, what it holds is freed."""

    def stop(self, index: int) -> None:
        """Nobody wants more of one choice; deltas of it that still come are to be ignored."""


@attrs.frozen
class Usage:
    """Token counts of one request, over all its choices."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0  # those of completion_tokens that are of a thought

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@attrs.frozen
class CompletionOutput:
    """One choice: whole in `LLM.generate`, what is new in `LLM.generate_iterator`."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    logprobs: list[TokenLogprob] | None = None
    parts: tuple[Part, ...] = ()  # see `AnswerDelta.parts`; pieces of one kind are joined


@attrs.frozen
class GenerationOutput:
    """The answer to one prompt: whole in `LLM.generate`, what is new in `LLM.generate_iterator`.

    There `outputs` has one item with new text and tokens, `usage` counts so far, and the prompt's
    ids are in the first output alone.
    """

    request_id: str
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    usage: Usage
    prompt_logprobs: list[TokenLogprob | None] | None = None

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.outputs[0].text

    def __str__(self) -> str:
        return self.text
