"""LLM: the one high-level door; where prompt, engine, decoder, stop strings and usage meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from openllm.answer.generation import Generation, collect, raise_failure
from openllm.answer.text import ChoiceAssembler
from openllm.config.sampling import build_params, model_defaults
from openllm.config.spec import LLMSpec
from openllm.discovery import load_module
from openllm.errors import (
    AdapterNotFound,
    ContextLengthExceeded,
    EngineDead,
    InvalidRequest,
    UnsupportedFeature,
    call,
    field,
)
from openllm.llm.embedding import EmbeddingOutput, finish_vectors, token_prompts
from openllm.llm.loops import bridge, run_on
from openllm.llm.model import Assembly, MakeEngine
from openllm.llm.naming import ModelId, spec_for
from openllm.prompt.messages import as_prompts, conversation
from openllm.types import (
    CompletionOutput,
    Conversation,
    EngineRequest,
    GenerationOutput,
    GenerationRequest,
    Message,
    Prompt,
    SamplingParams,
    Usage,
)
from openllm.weights.hub import Token

if TYPE_CHECKING:
    from openllm.bento.runner.runner import Runner

LONG_PROMPT = 2_000  # characters from which a prompt is tokenized off the event loop


class LLM(Assembly):
    """One model, ready to generate. Nothing is loaded before it is needed; the same on every
    backend.

    `model_id` is a directory, a Hub id, a model-store tag, a family name or "demo"; `options` are
    `LLMSpec`'s fields (`backend`, `dtype`, `max_model_len`, `adapters`, ...). What is not given
    comes from `OPENLLM_*` variables, then from the model's family. `token` is shown to the Hub and
    to nobody else, and written down nowhere; without it the Hub client's own is used. Errors:
    ConfigurationError for options that cannot work; WeightsError, MissingDependency and the
    engine's own when it starts.

        llm = openllm.LLM("demo")
        print(llm("How do I build a Bento?"))              # in a script
        answer = await llm.generate("...", max_tokens=64)  # in a coroutine
    """

    def __init__(self, model_id: ModelId = "demo", *, token: Token = None, **options: Any) -> None:
        super().__init__(spec_for(model_id, options))
        self._token = token

    @classmethod
    def from_pretrained(cls, model_id: ModelId, **options: Any) -> Self:
        """The same as `LLM(model_id, **options)`, by the name users of transformers know."""
        return cls(model_id, **options)

    @classmethod
    def from_spec(
        cls, spec: LLMSpec, weights_dir: Path | None = None, make_engine: MakeEngine | None = None
    ) -> Self:
        """An LLM for exactly this spec, without reading the environment; `weights_dir` skips the
        resolution.

        `make_engine` gives the engine, such as one in another process; by default it is chosen for
        this one.
        """
        llm = cls.__new__(cls)
        Assembly.__init__(llm, spec, weights_dir, make_engine)
        return llm

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec.model_id!r}, backend={self.spec.backend!r})"

    # One request.

    def sampling_params(self, **overrides: Any) -> SamplingParams:
        """Overrides, then the spec's defaults, the model's own (generation_config.json), and the
        family's.

        Errors: InvalidRequest that names the parameter.
        """
        return build_params(
            overrides, self.spec.sampling, self.model_sampling, self.config.sampling
        )

    @cached_property
    def model_sampling(self) -> Mapping[str, Any]:
        """What the model's directory says requests should be sampled with."""
        return model_defaults(self.weights_dir)

    async def admit(self, request: GenerationRequest) -> Generation:
        """Render, tokenize and check a request; the engine sees it when the result is first
        iterated.

        Must run on the loop the LLM was started on. Errors: InvalidRequest, ContextLengthExceeded,
        UnsupportedFeature, AdapterNotFound, EngineDead.
        """
        if not self.started:
            await self.start()
        if self.failure:
            raise EngineDead(
                f"The engine has stopped: {self.failure}.", hint="Restart the service."
            )
        if self.spec.task != "generate":
            raise UnsupportedFeature(
                f"{self.name} is an embedding model.",
                hint=f"Use {call('LLM.embed')}.",
                param="model",
            )
        self._check_adapter(request.adapter)
        token_ids = await self.encode(request.prompt, request.add_special_tokens)
        params = self._fitted(request.params, len(token_ids))
        self._check_ids(token_ids, params)
        engine_request = EngineRequest(request.request_id, token_ids, params, request.adapter)
        self.backend.check(engine_request)
        return Generation(
            self.backend,
            engine_request,
            self._choices(engine_request),
            self.shelf.use(request.adapter),
        )

    async def encode(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """The token ids of a text, a conversation, or ids as they are. Errors: InvalidRequest."""
        if isinstance(prompt, str) and self.renderer.too_long(prompt, self.max_model_len):
            raise ContextLengthExceeded(
                f"This model's context is {self.max_model_len} tokens; the prompt has {len(prompt)}"
                " characters.",
                hint="Shorten the prompt.",
                param="prompt",
            )
        quick = (
            len(prompt) <= LONG_PROMPT
            if isinstance(prompt, str)
            else not isinstance(prompt, Conversation)
        )
        if quick:
            return self.renderer.encode(prompt, add_special_tokens)
        return await asyncio.to_thread(self.renderer.encode, prompt, add_special_tokens)

    def _check_adapter(self, name: str | None) -> None:
        if name is not None and name not in self.adapters:
            raise AdapterNotFound(
                f"There is no adapter {name!r}.",
                hint=f"{call('LLM.adapters')} lists them.",
                param="adapter",
            )

    def _fitted(self, params: SamplingParams, size: int) -> SamplingParams:
        """`params` with max_tokens set, prompt (of `size` tokens) plus answer inside the context.

        A request's own max_tokens that does not fit is refused; a default one is cut to the room
        there is.
        """
        if size == 0:
            raise InvalidRequest(
                "The prompt is empty.", hint="Send at least one token.", param="prompt"
            )
        limit, wanted = self.max_model_len, params.max_tokens
        room = limit - size
        if wanted is not None and wanted == self._default_max_tokens():
            wanted = min(wanted, max(room, 1))
        if room < 1 or (wanted is not None and wanted > room):
            asked = f" and {field('max_tokens')} is {wanted}" if wanted is not None else ""
            raise ContextLengthExceeded(
                f"This model's context is {limit} tokens; the prompt has {size}{asked}.",
                hint=f"Shorten the prompt or lower {field('max_tokens')}.",
                param="prompt" if room < 1 else "max_tokens",
            )
        most = wanted or room
        if params.max_tokens == most and params.min_tokens <= most:
            return params
        return attrs.evolve(params, max_tokens=most, min_tokens=min(params.min_tokens, most))

    def _default_max_tokens(self) -> int | None:
        defaults = {**self.config.sampling, **self.spec.sampling}
        return defaults.get("max_new_tokens", defaults.get("max_tokens"))

    def _check_ids(self, token_ids: list[int], params: SamplingParams) -> None:
        vocab = self.backend.info.vocab_size
        named = {
            "prompt": token_ids,
            "logit_bias": params.logit_bias,
            "stop_token_ids": params.stop_token_ids,
        }
        for name, ids in named.items():
            if ids and (min(ids) < 0 or max(ids) >= vocab):
                raise InvalidRequest(f"{name}: a token id is not in [0, {vocab}).", param=name)

    def _choices(self, request: EngineRequest) -> list[ChoiceAssembler]:
        ends = frozenset(self.backend.info.eos_token_ids)
        make = partial(
            ChoiceAssembler, self.decoding_tokenizer, request.params, request.prompt_token_ids, ends
        )
        return [make() for _ in range(request.params.n)]

    # The public ways to ask.

    async def generate(
        self, prompt: Prompt, *, adapter_name: str | None = None, **params: Any
    ) -> GenerationOutput:
        """The whole answer to a text, token ids or a `Conversation`; `params` are `SamplingParams`'
        names.

        A text is continued as it is; `chat` applies the chat template. Errors: those of `admit`,
        Overloaded, EngineError.
        """
        await self.start()
        return await run_on(self.home, lambda: self._answer(prompt, adapter_name, params))

    async def _answer(
        self, prompt: Prompt, adapter: str | None, params: Mapping[str, Any]
    ) -> GenerationOutput:
        return await collect(
            await self.admit(GenerationRequest(prompt, self.sampling_params(**params), adapter))
        )

    async def generate_iterator(
        self, prompt: Prompt, *, adapter_name: str | None = None, **params: Any
    ) -> AsyncGenerator[GenerationOutput, None]:
        """What is new, as it comes: each item has one output, with the text and tokens since the
        one before.
        """
        await self.start()
        make = partial(self._deltas, prompt, adapter_name, params)
        outputs = make() if self.home is asyncio.get_running_loop() else bridge(self.home, make)
        try:
            async for output in outputs:
                yield output
        finally:
            await outputs.aclose()

    async def _deltas(
        self, prompt: Prompt, adapter: str | None, params: Mapping[str, Any]
    ) -> AsyncGenerator[GenerationOutput, None]:
        async with await self.admit(
            GenerationRequest(prompt, self.sampling_params(**params), adapter)
        ) as generation:
            async for delta in generation:
                raise_failure(delta)
                output = CompletionOutput(
                    delta.index,
                    delta.text,
                    delta.token_ids,
                    delta.finish_reason,
                    delta.stop_reason,
                    delta.logprobs,
                )
                ids, usage = generation.prompt_token_ids, generation.usage
                yield GenerationOutput(
                    generation.request_id, ids, [output], usage, delta.prompt_logprobs
                )

    async def chat(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        adapter_name: str | None = None,
        **params: Any,
    ) -> GenerationOutput:
        """The answer to a conversation: messages as `Message` or {"role": ..., "content": ...}."""
        return await self.generate(conversation(messages), adapter_name=adapter_name, **params)

    def __call__(self, prompt: Prompt, **params: Any) -> GenerationOutput:
        """The answer, synchronously; for scripts and notebooks' plain cells.

        A text is one turn of a chat when the model has a chat template, else it is continued.
        Inside a running event loop use `await llm.generate(...)`.
        """
        return self.run(self._ask(prompt, params))

    async def _ask(self, prompt: Prompt, params: Mapping[str, Any]) -> GenerationOutput:
        await self.start()
        if isinstance(prompt, str) and self.renderer.has_template:
            prompt = conversation([Message("user", prompt)])
        return await self.generate(prompt, **params)

    async def embed(
        self,
        texts: Prompt | Sequence[Prompt],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        dimensions: int | None = None,
    ) -> EmbeddingOutput:
        """One vector per text (list of floats), cut to `dimensions` and scaled to length 1 unless
        told otherwise.

        `pooling` is "mean", "last" or "cls"; None: what the model's files say. Errors:
        UnsupportedFeature, InvalidRequest, ContextLengthExceeded.
        """
        await self.start()

        async def work() -> EmbeddingOutput:
            prompts = await asyncio.to_thread(
                token_prompts, self.renderer, as_prompts(texts), self.max_model_len
            )
            found = await self.backend.embed(prompts, pooling)
            return EmbeddingOutput(
                finish_vectors(found.vectors, normalize, dimensions), Usage(found.prompt_tokens, 0)
            )

        return await run_on(self.home, work)

    def prepare_for_training(
        self,
        *,
        rank: int = 8,
        alpha: int | None = None,
        dropout: float = 0.0,
        targets: Sequence[str] = (),
        gradient_checkpointing: bool = False,
    ) -> tuple[Any, Any]:
        """A new `peft.PeftModel` of these weights with untrained LoRA matrices, and the tokenizer;
        for any trainer.

        `alpha` None is twice the rank; `targets` are the last names of layers ("q_proj"), by
        default every linear one. What it saves can be mounted. The engine is neither needed nor
        touched. Errors: MissingDependency, WeightsError.
        """
        from openllm.backends.pytorch.training import LoraPlan, prepare_model

        plan = LoraPlan(rank, alpha, dropout, tuple(targets), gradient_checkpointing)
        return prepare_model(self.spec, self.weights_dir, plan), self.tokenizer

    # BentoML. Its package stands above this one, hence the late imports.

    def to_runner(self, **options: Any) -> Runner:
        """This model as a `bentoml.legacy.Runner`; `options` are that class's own. Errors:
        ConfigurationError.
        """
        runner: Runner = load_module("openllm.bento", "runner").Runner.from_llm(self, **options)
        return runner

    @cached_property
    def runner(self) -> Runner:
        """`to_runner()`, made once."""
        return self.to_runner()

    # Tokens as text, for logprobs.

    def token_text(self, token_id: int) -> str:
        """One token as text; incomplete characters show as U+FFFD."""
        return self.token_table.text(token_id)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one token adds to a text."""
        return self.token_table.data(token_id)
