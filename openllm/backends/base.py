"""The contract of an engine: token ids in, `TokenDelta`s out; no text, no HTTP."""

from __future__ import annotations

import abc
import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec

from openllm.backends.residency import LocalResidency, Residency
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError, UnsupportedFeature
from openllm.types import EngineRequest, Take, TokenDelta


@attrs.frozen
class BackendInfo:
    """What a started engine knows of itself."""

    max_model_len: int  # tokens, prompt and answer together
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    dtype: str
    device: str
    max_concurrency: int = 0  # requests that can run at once; 0: the engine decides
    adapter_slots: int | None = None  # adapters that can be mounted at once; None: any number
    adapter_rank: int | None = None  # the highest rank that can be mounted; None: any


@attrs.frozen
class EngineStats:
    """One reading of an engine, cheap enough to take at every scrape."""

    running: int = 0  # choices being decoded or prefilled
    waiting: int = 0  # admitted and not begun
    cache_usage: float = 0.0  # share of the KV cache in use, 0..1
    prefix_hits: int = 0  # prompt tokens taken from a cache, since start
    prefix_queries: int = 0  # prompt tokens looked up, since start
    preemptions: int = 0  # since start


@attrs.frozen
class Embeddings:
    """One vector per input, and how many tokens the inputs had."""

    vectors: list[list[float]]
    prompt_tokens: int


class Backend(abc.ABC):
    """An engine around one model. Built from a spec and a local directory of weights; holds nothing
    until `start`.
    """

    name: ClassVar[str]
    supports_adapters: ClassVar[bool] = False
    supports_embeddings: ClassVar[bool] = False
    uniform_adapters: ClassVar[bool] = (
        False  # it knows one rank and one alpha for all layers of an adapter
    )

    def __init__(self, spec: LLMSpec, weights_dir: Path) -> None:
        self.spec = spec
        self.weights_dir = weights_dir

    @classmethod
    @abc.abstractmethod
    def unusable(cls, spec: LLMSpec) -> str | None:
        """Why this backend cannot run here, as one sentence that names the remedy; None when it
        can. No imports.
        """

    @classmethod
    def unpackable(cls, spec: LLMSpec) -> str | None:
        """As `unusable`, for a Bento that is served elsewhere: the devices that are here do not
        count.
        """
        return cls.unusable(spec)

    @classmethod
    def broken(cls, spec: LLMSpec) -> str | None:
        """Why the engine's packages do not import, found by importing them; None when they do.
        Takes seconds.
        """
        return None

    @abc.abstractmethod
    async def start(self) -> None:
        """Load weights and bring the engine up. Errors: WeightsError, ConfigurationError,
        MissingDependency.
        """

    @property
    @abc.abstractmethod
    def info(self) -> BackendInfo:
        """Valid after `start`."""

    @property
    def reason(self) -> str | None:
        """One line, which engine this is and why, where that was decided elsewhere; None: whoever
        made it knows.
        """
        return None

    def check(self, request: EngineRequest) -> None:  # noqa: B027 - most engines can do everything
        """Refuse before admission what this engine cannot do. Errors: UnsupportedFeature,
        InvalidRequest.
        """

    # an engine may let it run out
    def stop_choice(self, request_id: str, index: int) -> None:  # noqa: B027
        """The reader wants no more of choice `index` (a stop string ended it): free what it holds.

        Called on the event loop's thread; its later deltas, if any come, are ignored by the caller.
        """

    def load_model(self) -> Any:
        """The engine's own model object, loaded now if it was not (blocking). Errors:
        UnsupportedFeature.
        """
        raise UnsupportedFeature(f"The {self.name} backend does not show its model object.")

    @abc.abstractmethod
    def generate(
        self, request: EngineRequest, take: Take | None = None
    ) -> AsyncGenerator[TokenDelta]:
        """Yield the deltas of all `params.n` choices; each choice ends with exactly one delta with
        a finish_reason.

        `take`, for requests of one choice only, may get the deltas in the middle of an answer
        instead of who iterates (see `DeltaQueue`); an engine need not use it. Closing the iterator
        (or cancelling the task that reads it) cancels the request and frees what it holds. Errors:
        Overloaded when the queue is full, InvalidRequest (a grammar that does not compile),
        EngineDead.
        """

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None
    ) -> Embeddings:
        """Embed token-id prompts, not normalised. `pooling` is "mean", "last" or "cls"; None: the
        model's own.

        Errors: UnsupportedFeature.
        """
        raise UnsupportedFeature(
            f"The {self.name} backend cannot embed this model.", hint="Use an embedding model."
        )

    async def mount_adapter(self, name: str, path: Path) -> None:
        """Make the adapter in `path` (checked by `openllm.weights.adapters`) usable as
        `request.adapter == name`.
        """
        raise UnsupportedFeature(
            f"The {self.name} backend has no LoRA support.", hint="Use pytorch or vllm."
        )

    async def unmount_adapter(self, name: str) -> None:
        """Forget an adapter once the requests that use it are done."""
        raise UnsupportedFeature(
            f"The {self.name} backend has no LoRA support.", hint="Use pytorch or vllm."
        )

    def make_residency(self) -> Residency:
        """Which adapters are resident; valid after `start`. An engine that several processes use
        keeps its own.
        """
        slots = [count for count in (self.spec.max_adapters, self.info.adapter_slots) if count]
        return LocalResidency(self, min(slots, default=None))

    def stats(self) -> EngineStats:
        return EngineStats()

    @property
    def failure(self) -> str | None:
        """Why the engine is dead; None while it is well. Feeds /readyz and /livez."""
        return None

    @abc.abstractmethod
    async def close(self) -> None:
        """Stop the engine; live requests end with finish_reason "cancelled". Closing twice is
        fine.
        """


class DeltaQueue:
    """Deltas of one request on their way from an engine thread to its reader; late ones are joined.

    `put` is called on the event loop's thread (an engine thread posts one callback per step for all
    its requests). While the reader waits, a delta in the middle of an answer is offered to `take`
    first: where that returns True it is done with, and the reader's task need not wake for it. That
    is most of what a token of a stream costs.
    """

    __slots__ = ("_broken", "_error", "_items", "_take", "_waiter")

    def __init__(self, take: Take | None = None) -> None:
        self._items: deque[TokenDelta] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: OpenLLMError | None = None
        self._broken: Exception | None = None  # what `take` raised
        self._take = take

    def put(self, delta: TokenDelta) -> None:
        if self._items or not self._taken(delta):
            self.hold(delta)
            self._wake()

    def hold(self, delta: TokenDelta) -> None:
        """Append a delta, joined where it can be, without telling anybody; `release` does."""
        if (
            self._items
            and (last := self._items[-1]).index == delta.index
            and last.finish_reason is None
        ):
            self._items[-1] = join(last, delta)
        else:
            self._items.append(delta)

    def release(self) -> None:
        """Let the reader have what was held, if it is still there."""
        if len(self._items) == 1 and self._taken(self._items[0]):
            self._items.clear()
        if self._items:
            self._wake()

    def fail(self, error: OpenLLMError) -> None:
        self._error = error
        self._wake()

    def _taken(self, delta: TokenDelta) -> bool:
        """Whether `take` has dealt with it. What it raises is for the reader, not for the engine
        that calls.

        While `get` waits, all deltas before this one have been dealt with, so it cannot overtake
        any.
        """
        if (
            self._take is None
            or delta.finish_reason is not None
            or self._waiter is None
            or self._waiter.done()
        ):
            return False
        try:
            return self._take(delta)
        except Exception as error:  # noqa: BLE001  whatever it is, the reader raises it
            self._broken = error
            self._wake()
            return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> TokenDelta:
        """The next delta; raises what `fail` was given once all deltas are read, and what `take`
        raised at once.
        """
        while not self._items and self._broken is None and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        error = self._error if self._broken is None and not self._items else self._broken
        if error is not None:
            raise error
        return self._items.popleft()


def join(first: TokenDelta, second: TokenDelta) -> TokenDelta:
    """Two consecutive deltas of one choice as one."""
    return msgspec.structs.replace(
        first,
        token_ids=first.token_ids + second.token_ids,
        finish_reason=second.finish_reason,
        stop_reason=second.stop_reason,
        logprobs=None if first.logprobs is None else first.logprobs + (second.logprobs or []),
        error=second.error,
    )


def terminal_error(index: int, message: str) -> TokenDelta:
    """The delta that ends choice `index` when the engine failed on it."""
    return TokenDelta([], index, "error", error=message)
