"""The vLLM engine behind the `Backend` contract: a thin caller of AsyncLLM.

What stands between a reader and the engine itself, per step and request: the engine core's process
packs one msgpack frame per step; one task of the event loop unpacks it and puts one `TokenDelta`
per request into its sink (openllm.backends.vllm.stream). Nothing is detokenised or copied here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from openllm.backends.base import Backend, BackendInfo, Embeddings, EngineStats, Logits
from openllm.backends.vllm.environment import longer_contexts_allowed
from openllm.backends.vllm.facts import FACTS
from openllm.backends.vllm.failures import RESTART, request_errors, translate
from openllm.backends.vllm.params import images_input, prompt_input, sampling_params
from openllm.backends.vllm.pooling import classify_inputs, embed_prompts, whole_prompts
from openllm.backends.vllm.stats import StatsBoard
from openllm.backends.vllm.stream import Receiver
from openllm.backends.vllm.usable import cpu_build, unpackable, unusable
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    ConfigurationError,
    EngineDead,
    InvalidRequest,
    MissingDependency,
    Overloaded,
    UnsupportedFeature,
    option,
)
from openllm.hardware.devices import kind_of
from openllm.media.looking import WORKERS
from openllm.types import EncodedText, Running, Sink, TokenDelta, TokenRequest

if TYPE_CHECKING:
    from openllm.backends.vllm.launched import Launched

DEVICES = ("auto", "cpu", "cuda", "rocm", "xpu", "tpu")
# Engine arguments that put something in the place of what config.json says of positions.
STRETCHING = frozenset({"hf_overrides", "hf_config_path", "rope_scaling", "rope_parameters"})

logger = logging.getLogger("openllm")


class VLLMBackend(Backend):
    """vLLM 0.26 to 0.33 on CUDA, ROCm or the CPU."""

    facts = FACTS

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, settings)
        self._launched: Launched | None = None
        self._board = StatsBoard()
        self._copy: Any = None  # of the weights, as transformers' model

    def load_model(self) -> Any:
        """transformers' model of the same weights: vLLM's own lives in another process. Loaded on
        the CPU the first time, and kept. Errors: WeightsError, MissingDependency.
        """
        if self._copy is None:
            from openllm.backends.pytorch.loading.loader import load_model

            logger.warning(
                "%s: this is a second copy of the weights, transformers' on the CPU; vLLM's engine"
                " does not see what is done to it.",
                self.spec.served_name,
            )
            plain = attrs.evolve(
                self.spec, backend="pytorch", device="cpu", quantization=None, engine_args={}
            )
            self._copy = load_model(plain, self.weights_dir).model
        return self._copy

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return unusable(spec, settings.visible_devices)

    @classmethod
    def unpackable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return unpackable(spec)

    @classmethod
    def cpu_build(cls) -> str | None:
        return cpu_build()

    @classmethod
    def broken(cls, spec: LLMSpec, settings: Settings) -> str | None:
        from openllm.backends.vllm.launch import engine_args_class

        try:
            engine_args_class(spec, settings)
        except MissingDependency as error:
            return str(error)
        return None

    @classmethod
    def judges_context(cls, spec: LLMSpec) -> bool:
        return bool(STRETCHING & spec.engine_args.keys()) or longer_contexts_allowed()

    @classmethod
    def check_options(
        cls, spec: LLMSpec, weights_dir: Path, settings: Settings, *, sure: bool = False
    ) -> None:
        if spec.device is not None and kind_of(spec.device) not in DEVICES:
            raise ConfigurationError(
                f"vLLM runs on no device {spec.device!r}.",
                hint=f"It runs on {', '.join(DEVICES[1:])}.",
                param="device",
            )
        if sure and (spec.engine_args or spec.quantization):
            from openllm.backends.vllm.launch import plan_arguments

            plan_arguments(spec, weights_dir, settings)

    async def start(self) -> None:
        if self._launched is not None:
            return
        # made on a thread, because it blocks; what it runs on this loop begins with the two lines
        # below
        self._launched = await asyncio.to_thread(self._launch)
        self._launched.requests.others_wait = self.others_wait
        # now, or the death of an idle engine would go unseen
        self._launched.engine._run_output_handler()
        await self._launched.engine.get_supported_tasks()

    def _launch(self) -> Launched:
        from openllm.backends.vllm.launch import launch

        return launch(self.spec, self.weights_dir, self.settings, self._board)

    @property
    def info(self) -> BackendInfo:
        return self._running().info

    def _running(self) -> Launched:
        if self._launched is None:
            raise EngineDead(
                "The engine has not been started, or was closed.", hint="Start it first."
            )
        return self._launched

    def check(self, request: TokenRequest) -> None:
        params, config = request.params, self._running().config
        if request.images is not None and not self.info.images:
            raise UnsupportedFeature("This model takes text only.", hint="Leave images out.")
        most = config.model_config.max_logprobs
        for name in ("logprobs", "prompt_logprobs"):
            asked = getattr(params, name)
            if asked is not None and -1 < most < asked:
                raise InvalidRequest(f"{name} must be at most {most}, got {asked}.", param=name)
        if config.speculative_config is not None and (params.min_p > 0 or params.logit_bias):
            raise UnsupportedFeature(
                "vLLM cannot do min_p or logit_bias with a speculative model.", param="min_p"
            )
        chunked = (
            config.scheduler_config.enable_chunked_prefill
            and config.device_config.device_type == "cpu"
        )
        if chunked and params.seed is not None and params.temperature > 0:
            raise UnsupportedFeature(
                "vLLM on a CPU cannot follow a seed where prompts are cut into chunks.",
                hint=(
                    "Start it without max_num_batched_tokens and enable_chunked_prefill, or leave"
                    " the seed out."
                ),
                param="seed",
            )

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        launched = self._admit(request.params.n)
        receiver = launched.requests.add(request, sink)
        try:
            await self._hand_over(request, receiver)
        except BaseException:
            receiver.cancel()
            raise
        return receiver

    def _admit(self, choices: int) -> Launched:
        """Errors: Overloaded when the queue is full, EngineDead."""
        launched = self._running()
        if self.failure is not None:
            raise EngineDead(f"The vLLM engine has stopped: {self.failure}.", hint=RESTART)
        held = launched.requests.choices
        if held and held + choices > launched.info.max_concurrency + self.spec.max_queue:
            waiting = max(held - launched.info.max_concurrency, 0)
            raise Overloaded(f"{waiting} requests are waiting already.", hint="Try again later.")
        return launched

    async def _hand_over(self, request: TokenRequest, receiver: Receiver) -> None:
        """Hand the request to vLLM. Errors: InvalidRequest, AdapterNotFound, EngineDead."""
        launched = self._running()
        adapter = launched.adapters.find(request.adapter)
        prompt = prompt_input(request)
        try:
            ends = launched.info.eos_token_ids
            sampling = sampling_params(request.params, request.bad_token_ids, ends)
            if request.params.structure is not None or request.images is not None:
                prompt = await self._processed(request, receiver.key, adapter)
                sampling = prompt.sampling_params
            collector = await launched.engine.add_request(
                receiver.key,
                prompt,
                sampling,
                lora_request=adapter,
                priority=self._priority(request),
            )
        except request_errors() as error:
            raise translate(error) from error
        receiver.internal_id = collector.request_id

    async def _processed(self, request: TokenRequest, key: str, adapter: Any) -> Any:
        """An EngineCoreRequest with a checked structure, which vLLM parses again, or with images,
        which its processor prepares: on a thread.
        """
        launched, params = self._running(), request.params
        engine, ends = launched.engine, launched.info.eos_token_ids
        tasks = await engine.get_supported_tasks()
        structure = params.structure and await launched.structures.checked(params.structure)

        def process() -> Any:
            evolved = attrs.evolve(params, structure=structure)
            sampling = sampling_params(evolved, request.bad_token_ids, ends)
            make = engine.input_processor.process_inputs
            images = request.images
            return make(
                key,
                prompt_input(request) if images is None else images_input(request, images),
                sampling,
                supported_tasks=tasks,
                lora_request=adapter,
                priority=self._priority(request),
            )

        workers = None if request.images is None else WORKERS
        return await asyncio.get_running_loop().run_in_executor(workers, process)

    def _priority(self, request: TokenRequest) -> int:
        """vLLM refuses one where it serves in the order of arrival."""
        return request.priority if self.info.priorities else 0

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        if skip:
            raise whole_prompts()
        if self.spec.task != "embed":
            raise UnsupportedFeature(
                f"vLLM makes text or vectors, and {self.spec.served_name} was started for text.",
                hint=f"Serve the model a second time with {option('task', 'embed')}, or on"
                f" {option('backend', 'pytorch')}, which does both.",
                param="model",
            )
        launched = self._admit(len(prompts))
        keys = [launched.requests.new_key() for _ in prompts]
        try:
            return await embed_prompts(launched, list(zip(keys, prompts, strict=True)), pooling)
        except request_errors() as error:
            raise translate(error) from error

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        if self.spec.task != "classify":
            raise UnsupportedFeature(
                "This engine was not started to classify.",
                hint=f"Start it with {option('task', 'classify')}.",
            )
        launched = self._admit(len(inputs))
        keys = [launched.requests.new_key() for _ in inputs]
        try:
            return await classify_inputs(launched, list(zip(keys, inputs, strict=True)))
        except request_errors() as error:
            raise translate(error) from error

    async def mount_adapter(self, name: str, path: Path) -> None:
        await self._running().adapters.mount(name, path)

    async def unmount_adapter(self, name: str) -> None:
        await self._running().adapters.unmount(name)

    def stats(self) -> EngineStats:
        live = self._launched is not None and bool(self._launched.requests.by_key)
        return self._board.read(live=live)

    @property
    def failure(self) -> str | None:
        dead = self._launched is not None and self._launched.engine.errored
        return "its process has ended" if dead else None

    async def close(self) -> None:
        launched, self._launched = self._launched, None
        if launched is None:
            return
        if not launched.engine.errored:
            found = [receiver.internal_id for receiver in launched.requests.by_key.values()]
            # each ends with a last output, as cancelled
            await launched.engine.abort([name for name in found if name], internal=True)
        launched.requests.closed = True
        launched.structures.close()
        if launched.engine.output_handler is not None:
            # else it reports the end of its engine as a failure
            launched.engine.output_handler.cancel()
        await asyncio.to_thread(launched.shut_down)


BACKEND = VLLMBackend
