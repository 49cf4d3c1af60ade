"""Tiny models, made once per session, and short words for asking a backend."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.backends.pytorch.backend import BACKEND, PyTorchBackend
from openllm.backends.stream import deltas
from openllm.config.spec import LLMSpec
from openllm.types import SamplingParams, TokenDelta, TokenLogprob, TokenRequest, new_request_id
from tests import tiny
from tests.backends.reference import Reference


@attrs.define
class Answer:
    """One choice, put together from its deltas."""

    tokens: list[int] = attrs.field(factory=list)
    reason: str | None = None
    stop: int | None = None
    logprobs: list[TokenLogprob] = attrs.field(factory=list)
    prompt_logprobs: list[TokenLogprob | None] | None = None
    cached: int = 0
    error: str | None = None

    def add(self, delta: TokenDelta) -> None:
        assert self.reason is None, "a delta came after the end"
        self.tokens += delta.token_ids
        self.reason, self.stop, self.error = delta.finish_reason, delta.stop_reason, delta.error
        self.logprobs += delta.logprobs or []
        self.prompt_logprobs = delta.prompt_logprobs or self.prompt_logprobs
        self.cached = self.cached or delta.cached_tokens


def request(prompt: list[int], adapter: str | None = None, **params: Any) -> TokenRequest:
    fields = {"temperature": 0.0, "max_tokens": 12, "ignore_eos": True, **params}
    return TokenRequest(new_request_id(), list(prompt), SamplingParams(**fields), adapter)


async def ask_all(
    backend: PyTorchBackend, asked: TokenRequest, begun: asyncio.Event | None = None
) -> list[Answer]:
    answers = [Answer() for _ in range(asked.params.n)]
    async for delta in deltas(backend, asked):
        answers[delta.index].add(delta)
        if begun is not None:
            begun.set()
    assert all(answer.reason for answer in answers)
    return answers


async def ask(
    backend: PyTorchBackend,
    prompt: list[int],
    adapter: str | None = None,
    begun: asyncio.Event | None = None,
    **params: Any,
) -> Answer:
    """The answer; `begun` is set when its first tokens have come."""
    return (await ask_all(backend, request(prompt, adapter, **params), begun))[0]


async def until_idle(backend: PyTorchBackend, seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.01)):
        stats = backend.stats()
        if stats.running == stats.waiting == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still busy: {backend.stats()}")


@contextlib.asynccontextmanager
async def started(path: Path, **fields: Any) -> AsyncIterator[PyTorchBackend]:
    spec = LLMSpec(
        **{
            "model_id": str(path),
            "backend": "pytorch",
            "dtype": "float32",
            "device": "cpu",
            **fields,
        }
    )
    backend = BACKEND(spec, path)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`model("llama")` is the directory of that tiny model; any type of `architectures` will do."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            from tests.backends.pytorch.architectures import write_checkpoint

            write = getattr(tiny, f"write_{name}", functools.partial(write_checkpoint, name))
            made[name] = write(tmp_path_factory.mktemp("models") / name)
        return made[name]

    return make


@pytest.fixture(scope="session")
def llama(model: Callable[[str], Path]) -> Path:
    return model("llama")


@pytest.fixture(scope="session")
def reference(llama: Path) -> Reference:
    return Reference(llama)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    """Token ids without the special ones, different for every seed."""
    return [6 + (17 * seed + 31 * at + at * at) % (tiny.VOCAB_SIZE - 8) for at in range(length)]
