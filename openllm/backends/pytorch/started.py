"""Everything behind a started backend: the engine and what stands beside it."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import torch

from openllm.backends.base import BackendInfo, Embeddings, Logits
from openllm.backends.grammar.frames import Vocabulary
from openllm.backends.grammar.guide import Use
from openllm.backends.grammar.store import GrammarStore
from openllm.backends.pytorch.classifier import Classifier, classifier_of
from openllm.backends.pytorch.embedder import Embedder
from openllm.backends.pytorch.engine import Engine, Parts
from openllm.backends.pytorch.forward.executor import Executor
from openllm.backends.pytorch.forward.fit import choose_executor, pack_whole, takes_images
from openllm.backends.pytorch.forward.flat import FlatExecutor
from openllm.backends.pytorch.forward.graphs import CudaRecorder, Recorder
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel, choose_limits
from openllm.backends.pytorch.lora.adapters import Adapter, AdapterBank
from openllm.backends.pytorch.sampling.sampler import BatchSampler
from openllm.backends.pytorch.threads import prepare_thread
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError, UnsupportedFeature
from openllm.media.processor import Processor, load_processor, looks_at_images
from openllm.types import EncodedText, Structure
from openllm.weights.code import runs_code
from openllm.weights.modules import read_modules
from openllm.weights.tokenizer import load_tokenizer

log = logging.getLogger(__name__)

T = TypeVar("T")


@attrs.define
class StartedModel:
    """One started model. Without an engine it embeds, or classifies."""

    info: BackendInfo
    embedder: Embedder | None
    classifier: Classifier | None
    grammars: GrammarStore
    adapters: AdapterBank
    engine: Engine | None
    processor: Processor | None = None  # of images, where the model takes them
    _turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    def require_engine(self) -> Engine:
        """Errors: UnsupportedFeature."""
        if self.engine is None:
            kind = "An embedding model" if self.classifier is None else "A classifier"
            raise UnsupportedFeature(
                f"{kind} cannot generate text.", hint="Use a model that writes text."
            )
        return self.engine

    def require_processor(self) -> Processor:
        """Errors: UnsupportedFeature."""
        if self.processor is None:
            raise UnsupportedFeature("This model takes text only.", hint="Leave images out.")
        return self.processor

    async def compile(self, structure: Structure | None) -> Use | None:
        """A hold on the compiled structure. Errors: those of `GrammarStore.use`."""
        return None if structure is None else await self.grammars.use(structure)

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None, skip: int = 0
    ) -> Embeddings:
        """Batch by batch, so that decoding goes on in between. Errors: InvalidRequest,
        UnsupportedFeature.
        """
        if self.embedder is None:
            raise UnsupportedFeature(
                "A classifier gives no vectors.", hint="Use an embedding model."
            )
        self.embedder.check(prompts, self.info.vocab_size)
        vectors: list[list[float]] = [[] for _ in prompts]
        for batch in self.embedder.batches(prompts):
            rows = [prompts[at] for at in batch]
            work = functools.partial(self.embedder.embed, rows, pooling, skip)
            for at, vector in zip(batch, await self._run(work), strict=True):
                vectors[at] = vector
        return Embeddings(vectors, sum(len(prompt) for prompt in prompts))

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        """Batch by batch, in turn with what else is asked. Errors: InvalidRequest,
        UnsupportedFeature.
        """
        if self.classifier is None:
            raise UnsupportedFeature(
                "This model was not started as a classifier.",
                hint="Use a sequence-classification model, such as a reranker.",
            )
        self.classifier.check(inputs, self.info.vocab_size)
        rows: list[list[float]] = [[] for _ in inputs]
        for batch in self.classifier.batches(inputs):
            work = functools.partial(self.classifier.logits, [inputs[at] for at in batch])
            for at, row in zip(batch, await self._run(work), strict=True):
                rows[at] = row
        return Logits(rows, sum(len(one.token_ids) for one in inputs))

    async def mount(self, key: int, adapter: Adapter) -> None:
        """Errors: WeightsError."""
        self.require_engine()
        await self._run(lambda: self.adapters.mount(key, adapter))

    async def unmount(self, key: int) -> None:
        """Forget an adapter and what was computed with it."""
        engine = self.require_engine()

        def drop() -> None:
            engine.forget_adapter(key)
            self.adapters.unmount(key)

        await self._run(drop)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run what touches the model where nothing else does: between two steps of the engine, or
        in turn.
        """
        if self.engine is not None:
            return await asyncio.wrap_future(self.engine.call(work))
        async with self._turn:
            return await asyncio.to_thread(work)

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()


def assemble(spec: LLMSpec, weights_dir: Path, loaded: LoadedModel) -> StartedModel:
    """Build the engine around a loaded model. Errors: ConfigurationError."""
    prepare_thread(loaded.device)
    vocabulary = Vocabulary(
        str(weights_dir),
        loaded.logit_width,
        loaded.eos_token_ids,
        runs_code(weights_dir, spec.trust_remote_code),
    )
    engine, processor = None, None
    modules = read_modules(weights_dir)
    if spec.task != "generate":
        longest = modules.form.max_length
        if longest is not None and spec.max_model_len is None:
            loaded = attrs.evolve(loaded, context=min(loaded.context, longest))
        limits = choose_limits(spec, loaded, 0)
        pack_whole(spec, loaded)
        adapters = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    else:
        executor, limits, processor = _fitted(spec, weights_dir, loaded)
        adapters = AdapterBank(loaded.model, loaded.device, loaded.dtype)
        recorder = choose_recorder(spec, loaded)
        if recorder is not None and isinstance(executor, FlatExecutor):
            with torch.inference_mode():
                executor.record_steps(recorder, adapters)
        sampler = BatchSampler(loaded.logit_width, loaded.device, loaded.eos_token_ids)
        engine = Engine(
            Parts(executor, sampler, adapters, limits, spec.max_queue, loaded, spec.seed)
        )
    info = BackendInfo(
        max_model_len=limits.max_model_len,
        vocab_size=min(loaded.vocab_size, loaded.logit_width),
        eos_token_ids=loaded.eos_token_ids,
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        max_concurrency=limits.max_num_seqs,
        priorities=True,
        images=processor is not None,
    )
    classifies = spec.task == "classify"
    return StartedModel(
        info,
        None if classifies else Embedder(loaded, weights_dir, modules.stages),
        classifier_of(loaded, modules.score) if classifies else None,
        GrammarStore(vocabulary),
        adapters,
        engine,
        processor,
    )


def _fitted(
    spec: LLMSpec, weights_dir: Path, loaded: LoadedModel
) -> tuple[Executor, EngineLimits, Processor | None]:
    """How a model's texts are run, within what limits, and what prepares its images, if it takes
    any.
    """
    processor = find_processor(spec, weights_dir)
    looked = None if processor is None else processor.sample()
    executor, limits = choose_executor(spec, loaded, sees=looked is not None)
    if looked is None or not takes_images(executor, loaded, looked):
        processor = None
    return executor, limits, processor


def find_processor(spec: LLMSpec, weights_dir: Path) -> Processor | None:
    """What prepares images for a model that looks at them; None where it does not, or cannot."""
    if not looks_at_images(weights_dir):
        return None
    tokenizer = load_tokenizer(weights_dir, trust_remote_code=spec.trust_remote_code)
    try:
        return load_processor(weights_dir, tokenizer)
    except OpenLLMError as error:
        log.warning("this model is served for text alone: %s", error)
        return None


def return_memory() -> None:
    """Give the GPU's memory of a model that nobody holds any longer back to the driver. Torch would
    keep it for this process, and who asks the driver what is free, as the next start does, would
    find none.
    """
    if torch.cuda.is_initialized():
        gc.collect()  # modules of a model refer to one another
        torch.cuda.empty_cache()


def choose_recorder(spec: LLMSpec, loaded: LoadedModel) -> Recorder | None:
    """What records decode steps: CUDA graphs where there is CUDA, unless the spec says
    `enforce_eager`.
    """
    return CudaRecorder() if loaded.device.type == "cuda" and not spec.enforce_eager else None
