"""A request inside the engine: one `Job` with its sink, and one `Sequence` per choice."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any

import attrs
import torch

from openllm.backends.grammar.guide import Guide, Use
from openllm.types import SamplingParams, Sink, TokenDelta, TokenLogprob, TokenRequest

BASE_ADAPTER = 0  # the key of "no adapter"; mounted ones count from 1


@attrs.frozen(eq=False)
class Sight:
    """The images of one prompt as its model takes them."""

    key: str  # tells them from all others
    end: int  # tokens of the prompt up to the end of the last image
    features: Mapping[str, torch.Tensor]  # inputs of the model's forward pass, by its names


@attrs.define(eq=False)
class Sequence:
    """One choice being decoded. `tokens` is prompt and answer; the KV of `tokens[:computed]` is in
    the cache.
    """

    job: Job
    index: int
    tokens: list[int]
    prompt_length: int
    seed: int
    order: int = 0  # of arrival, over the engine's life: the oldest is preempted last
    computed: int = 0
    cached: int = 0  # prompt tokens taken from the prefix cache
    row: Any = None  # the executor's own: where the KV lives
    guide: Guide | None = None  # where it is in its grammar
    prompt_logprobs: list[TokenLogprob | None] | None = None
    posted: bool = False  # the first delta is out
    stopped: bool = False  # the reader wants no more of this choice
    finished: bool = False

    @property
    def params(self) -> SamplingParams:
        return self.job.request.params

    @property
    def adapter(self) -> int:
        return self.job.adapter

    @property
    def priority(self) -> int:
        return self.job.request.priority

    @property
    def salt(self) -> Hashable:
        """Its prefix is shared with sequences of the same one alone: also of the same images."""
        sight, salt = self.job.sight, self.job.request.cache_salt
        return salt if sight is None else (salt, sight.key)

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_length

    @property
    def remaining(self) -> int:
        """Tokens whose KV must be computed before the next token can be drawn."""
        return len(self.tokens) - self.computed

    @property
    def waits_for_mask(self) -> bool:
        """Whether a step has been over before it was known what may come next: it sits out until
        that is.
        """
        return self.guide is not None and self.guide.late and not self.guide.ready

    @property
    def below_minimum(self) -> bool:
        return self.generated < self.params.min_tokens

    @property
    def waits_for_prompt(self) -> bool:
        """Whether the first choice is about to compute the very prompt this one needs."""
        first = self.job.sequences[0]
        return first is not self and not first.finished and first.computed < self.prompt_length


@attrs.define(eq=False)
class Job:
    """One request and its way back: deltas are put into `sink` on `loop`."""

    request: TokenRequest
    sink: Sink[TokenDelta]
    loop: asyncio.AbstractEventLoop
    adapter: int = BASE_ADAPTER
    grammar: Use | None = None  # of the request's structure
    sight: Sight | None = None  # of the request's images
    sequences: list[Sequence] = attrs.field(factory=list)
    cancelled: bool = False
    # `time.monotonic()` when the first of its choices left the queue; None: all wait
    begun: float | None = None

    def open_choices(self) -> list[Sequence]:
        return [sequence for sequence in self.sequences if not sequence.finished]

    def release(self) -> None:
        """Let go of what the request holds: it is over."""
        if self.grammar is not None:
            self.grammar.release()


def expand(job: Job, seed: int, orders: list[int]) -> list[Sequence]:
    """The choices of a job, one per order of arrival; choice i samples with `seed + i`."""
    prompt = job.request.prompt_token_ids
    job.sequences = [
        Sequence(job, index, list(prompt), len(prompt), seed + index, order)
        for index, order in enumerate(orders)
    ]
    if job.grammar is not None:
        for sequence in job.sequences:
            sequence.guide = job.grammar.open()
    return job.sequences


@attrs.frozen
class StepWork:
    """What one step computes of a sequence: `count` tokens from `sequence.computed` on."""

    sequence: Sequence
    count: int
    all_logits: bool = (
        False  # for prompt logprobs: the logits of every position, not of the last alone
    )

    @property
    def draws(self) -> bool:
        """Whether the step ends with a new token for this sequence."""
        return self.count == self.sequence.remaining
