"""The contract of an engine: token ids in, `TokenDelta`s out; no text, no HTTP."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import msgspec

from openllm.backends.residency import LocalResidency, Residency
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedFeature
from openllm.facts import Facts
from openllm.types import EncodedText, Running, Sink, TokenDelta, TokenRequest


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
    priorities: bool = False  # whether requests are served by `TokenRequest.priority`
    images: bool = False  # whether it takes `TokenRequest.images`


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
class ReplicaFigures:
    """One reading of one of several engines that share the requests; `up`: it takes some now."""

    up: bool
    stats: EngineStats


@attrs.frozen
class Embeddings:
    """One vector per input, and how many tokens the inputs had."""

    vectors: list[list[float]]
    prompt_tokens: int


@attrs.frozen
class Logits:
    """One row of logits per input, a number for each label, and how many tokens the inputs had."""

    rows: list[list[float]]
    prompt_tokens: int


class Backend(abc.ABC):
    """An engine around one model. Built from a spec and a local directory of weights; holds nothing
    until `start`.
    """

    facts: ClassVar[Facts]
    elsewhere: ClassVar[bool] = False  # whether the engine has a process of its own

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        """`settings` are those of this process, as its door has read them; None: the defaults."""
        self.spec = spec
        self.weights_dir = weights_dir
        self.settings = settings or Settings()
        # Whether requests wait to be taken in: tokens of answers that have begun may then be held,
        # for moments, so that others get their first one.
        self.others_wait: Callable[[], bool] = lambda: False

    @property
    def name(self) -> str:
        """What its facts call it."""
        return self.facts.name

    @classmethod
    @abc.abstractmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        """Why this backend cannot run here, as one sentence that names the remedy, options in it
        marked as in an error; None when it can. No imports.
        """

    @classmethod
    def unpackable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        """As `unusable`, for a Bento that is served elsewhere: the devices that are here do not
        count.
        """
        return cls.unusable(spec, settings)

    @classmethod
    def cpu_build(cls) -> str | None:
        """The engine that is installed here and its version, where that is built for the CPU alone;
        else None.
        """
        return None

    @classmethod
    def broken(cls, spec: LLMSpec, settings: Settings) -> str | None:
        """Why the engine's packages do not import, found by importing them; None when they do.
        Takes seconds.
        """
        return None

    @classmethod
    def judges_context(cls, spec: LLMSpec) -> bool:
        """Whether the spec or the environment changes how long a context this engine takes, so that
        config.json alone does not say it.
        """
        return False

    @classmethod  # noqa: B027 - most engines follow every option
    def check_options(
        cls, spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
    ) -> None:
        """Refuse the options that this engine would have to ignore for the model in `weights_dir`,
        before anything is loaded. `sure` may import the engine to look: for the process that will
        run it. Errors: ConfigurationError, MissingDependency.
        """

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

    @property
    def follows_structures(self) -> bool:
        """Whether it can keep an answer to a `Structure`. Valid after `start`."""
        return self.facts.structures

    def check(self, request: TokenRequest) -> None:  # noqa: B027 - most engines can do everything
        """Refuse before admission what this engine cannot do. Errors: UnsupportedFeature,
        InvalidRequest.
        """

    # an engine may let it run out
    def load_model(self) -> Any:
        """The engine's own model object, loaded now if it was not (blocking). Errors:
        UnsupportedFeature.
        """
        raise UnsupportedFeature(f"The {self.name} backend does not show its model object.")

    @abc.abstractmethod
    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        """Take a request that `check` has let pass; `sink` gets the deltas of all its choices.

        Called on the event loop's thread, as `sink` is; deltas may come before this returns. If it
        is cancelled, so is the request. Errors: Overloaded when the queue is full, InvalidRequest
        (a grammar that does not compile), AdapterNotFound, EngineDead.
        """

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        """Embed token-id prompts, normalised only where the model's files say so. `pooling` is
        "mean", "last", "cls" or another of `openllm.weights.pooling.MODES`; None: the model's own.
        `skip` tokens at the beginning of each prompt are not pooled; an engine that pools all is
        not given it.

        Errors: UnsupportedFeature.
        """
        raise UnsupportedFeature(
            f"The {self.name} backend cannot embed this model.", hint="Use an embedding model."
        )

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        """The model's logits for texts or pairs of texts: before any activation, in fp32.

        Errors: UnsupportedFeature, InvalidRequest.
        """
        raise UnsupportedFeature(
            f"The {self.name} backend gives no labels for this model.",
            hint="Use a sequence-classification model, such as a reranker.",
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
    def replicas(self) -> Sequence[ReplicaFigures]:
        """The engines that share the requests, where there are several; `stats` are their sum."""
        return ()

    @property
    def ready(self) -> bool:
        """Whether a started engine takes requests now; one that comes back by itself does not for a
        while, and is well. Feeds /readyz.
        """
        return self.failure is None

    @property
    def failure(self) -> str | None:
        """Why the engine is dead; None while it is well. Feeds /readyz and /livez."""
        return None

    @abc.abstractmethod
    async def close(self) -> None:
        """Stop the engine; live requests end with finish_reason "cancelled". Closing twice is
        fine.
        """


def unlike_contract(backend: type[Backend]) -> str | None:
    """What `backend` lacks or takes otherwise than `Backend`, such as one written for an older
    openllm; None: it can be called as the contract says.
    """
    if missing := sorted(backend.__abstractmethods__):
        return f"it lacks {', '.join(missing)}"
    for name, method in inspect.getmembers(Backend, callable):
        if name.startswith("_"):
            continue
        asked = inspect.signature(method)
        named = [key for key, one in asked.parameters.items() if one.kind is one.KEYWORD_ONLY]
        placed = [key for key in asked.parameters if key not in named]
        try:
            inspect.signature(getattr(backend, name)).bind(*placed, **dict.fromkeys(named))
        except TypeError:
            return f"its {name} must take ({', '.join(asked.parameters)})"
    return None


def join(first: TokenDelta, second: TokenDelta) -> TokenDelta:
    """Two consecutive deltas of one choice as one."""
    return msgspec.structs.replace(
        first,
        token_ids=first.token_ids + second.token_ids,
        finish_reason=second.finish_reason,
        stop_reason=second.stop_reason,
        logprobs=None if first.logprobs is None else first.logprobs + (second.logprobs or []),
        error=second.error,
        begun=first.begun if first.begun is not None else second.begun,
    )


def terminal_error(index: int, message: str) -> TokenDelta:
    """The delta that ends choice `index` when the engine failed on it."""
    return TokenDelta([], index, "error", error=message)
