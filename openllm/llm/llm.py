"""LLM: the one high-level door; where prompt, engine, decoder, stop strings and usage meet."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, Unpack

from openllm.answer.generation import Generation
from openllm.answer.tokens import TokenTable
from openllm.backends.base import Backend, BackendInfo, EngineStats
from openllm.backends.residency import Residency
from openllm.config.settings import Settings
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.llm.admission import admit, encode, prompt_ids
from openllm.llm.blocking import BlockingCalls
from openllm.llm.earlier import EarlierMethods
from openllm.llm.host import Host, MakeEngine
from openllm.llm.loops import bridge, run_on
from openllm.llm.model import Model
from openllm.llm.outputs import Admit, pieces, whole
from openllm.llm.pooled import PooledCalls
from openllm.llm.resolve import ModelId, located_adapter, spec_for
from openllm.llm.runner import LLMRunner
from openllm.llm.training import LoraOptions, prepare
from openllm.models.base import LLMConfig
from openllm.prompt.messages import conversation
from openllm.prompt.renderer import ChatRenderer
from openllm.types import GenerationOutput, GenerationRequest, Message, Prompt, SamplingParams
from openllm.weights.hub import Token


class LLM(PooledCalls, BlockingCalls, EarlierMethods):
    """One model, ready to generate. Nothing is loaded before it is needed; the same on every
    backend.

    `model` is a directory, a Hub id, a model-store tag, a family name or "demo"; `options` are
    `LLMSpec`'s fields (`backend`, `dtype`, `max_model_len`, `adapters`, ...). What is not given
    comes from `OPENLLM_*` variables, then from the model's family. Or it is an `LLMSpec`, which
    says everything. `token` is shown to the Hub and to nobody else, and written down nowhere;
    without it the Hub client's own is used. `weights_dir` is where the weights are, for who knows
    it, and `make_engine` gives an engine of another kind, such as one in another process. The
    environment is read for `settings` that are not given. Errors: ConfigurationError for options
    that cannot work; WeightsError, MissingDependency and the engine's own when it starts.

        llm = openllm.LLM("demo")
        print(llm("How do I build a Bento?"))              # in a script
        answer = await llm.generate("...", max_tokens=64)  # in a coroutine
    """

    def __init__(
        self,
        model: ModelId | LLMSpec | None = None,
        *,
        token: Token = None,
        weights_dir: Path | None = None,
        make_engine: MakeEngine | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings or Settings.from_env()
        spec = self._spec_of(model, options, self.settings)
        self._model = Model(spec, self.settings, token, weights_dir, self._check_weights)
        self._host = Host(self._model, make_engine)
        self._given: dict[str, Any] = {"weights_dir": weights_dir, "make_engine": make_engine}
        self.created = int(time.time())

    @classmethod
    def from_pretrained(cls, model_id: ModelId, **options: Any) -> Self:
        """The same as `LLM(model_id, **options)`, by the name users of transformers know."""
        return cls(model_id, **options)

    @classmethod
    def from_spec(
        cls,
        spec: LLMSpec,
        weights_dir: Path | None = None,
        make_engine: MakeEngine | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """The same as `LLM(spec, ...)`: exactly this spec, whatever the environment says of it."""
        return cls(spec, weights_dir=weights_dir, make_engine=make_engine, settings=settings)

    @classmethod
    def _spec_of(
        cls, model: ModelId | LLMSpec | None, options: Mapping[str, Any], settings: Settings
    ) -> LLMSpec:
        """What the constructor was given as a spec."""
        return spec_for(model, options, settings)

    @classmethod
    def _check_weights(cls, spec: LLMSpec, weights_dir: Path) -> None:
        """Any will do; a class for one family looks closer. Errors: WeightsError."""

    # A copy is the same model, not started. A pickle does not hold the token, nor the settings,
    # which are those of the process that reads it.

    def __copy__(self) -> Self:
        return type(self)(self.spec, token=self._model.token, settings=self.settings, **self._given)

    def __deepcopy__(self, _: object) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self).from_spec, **self._given), (self.spec,)

    def __repr__(self) -> str:
        """What it is, and once there is an engine its state."""
        said = f"{self.spec.model_id!r}, backend={self.spec.backend!r}"
        if (state := self._host.state) is not None:
            said = f"{self.spec.model_id!r}, backend={self.backend.name!r}, state={state!r}"
        mounted = self.adapters if self.started else ()
        return f"{type(self).__name__}({said}{f', adapters={mounted!r}' if mounted else ''})"

    # The model.

    @property
    def spec(self) -> LLMSpec:
        return self._model.spec

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.spec.served_name

    @property
    def config(self) -> type[LLMConfig]:
        """The family."""
        return self._model.family

    @property
    def weights_dir(self) -> Path:
        """The local directory of weights and tokenizer; may download. Errors: WeightsError."""
        return self._model.weights_dir

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer. Errors: WeightsError."""
        return self._model.tokenizer

    @property
    def decoding_tokenizer(self) -> Any:
        """The Rust tokenizer behind the transformers one. Errors: WeightsError."""
        return self._model.decoding_tokenizer

    @property
    def renderer(self) -> ChatRenderer:
        """What makes token ids of texts and conversations."""
        return self._model.renderer

    @property
    def token_table(self) -> TokenTable:
        """Single tokens as bytes and text, for logprobs."""
        return self._model.token_table

    def sampling_params(self, **overrides: Any) -> SamplingParams:
        """Overrides, then the defaults of the spec, of the model's directory and of the family.

        Errors: InvalidRequest that names the parameter.
        """
        return self._model.sampling_params(overrides)

    # The engine and its life.

    @property
    def backend(self) -> Backend:
        """The engine, made but not started. Errors: MissingDependency, ConfigurationError."""
        return self._host.backend

    @property
    def backend_reason(self) -> str:
        """One line: which backend, and why that one."""
        return self._host.reason

    @property
    def model(self) -> Any:
        """The engine's own model object (transformers'), loaded. Errors: UnsupportedFeature."""
        return self.backend.load_model()

    @property
    def info(self) -> BackendInfo:
        """What the started engine knows of itself."""
        return self.backend.info

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together."""
        return self.info.max_model_len

    @property
    def input_modalities(self) -> tuple[str, ...]:
        """What messages to it may have: "text", and "image" where the model and its started engine
        look at images.
        """
        sees = not isinstance(self._model.sight(self.info), str)
        return ("text", "image") if sees else ("text",)

    def stats(self) -> EngineStats:
        """How busy the engine is."""
        return self.backend.stats()

    @property
    def started(self) -> bool:
        return self._host.started

    @property
    def failure(self) -> str | None:
        """Why nothing can be generated any more; None while all is well."""
        return self._host.failure

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the engine lives on. Errors: EngineDead before `start`."""
        return self._host.loop

    async def start(self) -> None:
        """Load everything and bring the engine up; later calls return at once.

        An LLM used from a second event loop while the first is alive is served by the first; when
        the first is closed the engine starts anew on the second.
        """
        await self._host.start(self)

    async def aclose(self) -> None:
        """Stop the engine; live requests end as cancelled. The LLM can be started again."""
        await self._host.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # LoRA adapters.

    @property
    def residency(self) -> Residency:
        """The mounted adapters. Errors: EngineDead before `start`."""
        return self._host.residency

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names requests may give as `adapter`."""
        return self._host.adapters

    @property
    def max_lora_rank(self) -> int | None:
        """The highest rank of an adapter that can be mounted, as far as it is known; None: any."""
        bounds = (self.spec.max_lora_rank, self.info.adapter_rank if self.started else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    async def mount_adapter(
        self, name: str, source: str | Path, revision: str | None = None
    ) -> None:
        """Make the LoRA adapter in a directory, on the Hub or in the store usable as
        `adapter_name=name`.

        Requests in flight see no change. Errors: WeightsError when it does not fit this model,
        Conflict when the name is taken, UnsupportedFeature when the engine has no LoRA.
        """
        await self.start()
        adapter = AdapterSpec(name, str(source), revision)
        if isinstance(source, str):
            adapter = located_adapter(adapter, self._model.settings.bentoml_home)
        path = await asyncio.to_thread(self._model.find_adapter, adapter, self.max_lora_rank)
        await run_on(self.loop, lambda: self.residency.add(name, path))

    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None:
        """Forget an adapter once its running requests are done. Errors: AdapterNotFound; Conflict
        without `wait`.
        """
        await run_on(self.loop, lambda: self.residency.remove(name, wait=wait))

    async def admit(self, request: GenerationRequest) -> Generation:
        """Render, tokenize and check a request; the engine sees it when the result begins. For the
        loop that the engine lives on. Errors: see `openllm.llm.admission`.
        """
        if not self.started:
            await self.start()
        return await admit(self._model, self._host, request)

    async def prompt_ids(self, request: GenerationRequest) -> list[int]:
        """The request's prompt as the engine would get it, of any length. Errors: as of `admit`."""
        await self.start()
        return await prompt_ids(self._model, self._host, request)

    async def encode(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text, a conversation, or ids as they are. Errors: InvalidRequest."""
        return await encode(self._model, prompt, add_special_tokens, self.max_model_len)

    # What can be asked.

    async def generate(
        self, prompt: Prompt, *, adapter_name: str | None = None, **params: Any
    ) -> GenerationOutput:
        """The whole answer to a text, token ids or a `Conversation`; `params` are `SamplingParams`'
        names.

        A text is continued as it is; `chat` applies the chat template. Errors: those of `admit`,
        Overloaded, EngineError.
        """
        await self.start()
        return await run_on(self.loop, partial(whole, self._admit(prompt, adapter_name, params)))

    async def generate_iterator(
        self, prompt: Prompt, *, adapter_name: str | None = None, **params: Any
    ) -> AsyncGenerator[GenerationOutput, None]:
        """What is new, as it comes: each item has one output, with the text and tokens since the
        one before, and the usage so far. The prompt's token ids are in the first item alone.
        """
        await self.start()
        make = partial(pieces, self._admit(prompt, adapter_name, params))
        outputs = make() if self.loop is asyncio.get_running_loop() else bridge(self.loop, make)
        try:
            async for output in outputs:
                yield output
        finally:
            await outputs.aclose()

    def _admit(self, prompt: Prompt, adapter: str | None, params: Mapping[str, Any]) -> Admit:
        request = GenerationRequest(prompt, self.sampling_params(**params), adapter)
        return partial(self.admit, request)

    async def chat(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        adapter_name: str | None = None,
        **params: Any,
    ) -> GenerationOutput:
        """The answer to a conversation: messages as `Message` or {"role": ..., "content": ...}."""
        return await self.generate(conversation(messages), adapter_name=adapter_name, **params)

    # Views of it for others.

    def prepare_for_training(self, **options: Unpack[LoraOptions]) -> tuple[Any, Any]:
        """A `peft.PeftModel` of these weights and the tokenizer: `openllm.llm.training.prepare`."""
        return prepare(self, **options)

    def to_runner(self, **options: Any) -> LLMRunner:
        """`openllm.Runner(self, **options)`: this model as a `bentoml.legacy.Runner`."""
        runner: LLMRunner = importlib.import_module("openllm").Runner(self, **options)
        return runner

    @cached_property
    def runner(self) -> LLMRunner:
        """`to_runner()`, made once."""
        return self.to_runner()
