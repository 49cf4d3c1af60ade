"""Recorded decode steps: here "recorded" means kept and run again, so that all but the capturing is
what CUDA does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from openllm.backends.pytorch.forward.graphs import CudaRecorder, Step, round_up
from tests import tiny
from tests.backends.pytorch.conftest import Answer, ask, prompt_of, started
from tests.backends.reference import Reference

ON_CUDA = (
    *("llama", "mistral", "qwen3", "phi3", "gemma2", "gemma3", "gpt2"),
    *("granite_swa", "youtu", "mamba2", "lfm2", "qwen3_5_text", "falcon_h1"),
)
CHOICE = "openllm.backends.pytorch.started.choose_recorder"


class Tape:
    """Keeps a step and replays it into one output buffer, as a CUDA graph does."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, step: Step) -> Step:
        out = step().clone()
        self.recorded += 1

        def replay() -> torch.Tensor:
            self.replayed += 1
            return out.copy_(step())

        return replay


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    tape = Tape()
    monkeypatch.setattr(CHOICE, lambda spec, loaded: tape)
    return tape


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mamba2", "youtu"])
async def test_replayed_answers_are_the_eager_ones(
    name: str, model: Callable[[str], Path], tape: Tape
) -> None:
    prompts = [prompt_of(5 + 20 * at, at) for at in range(5)]

    async def answers(**fields: Any) -> list[Answer]:
        async with started(model(name), **fields) as backend:
            return await asyncio.gather(
                *(
                    ask(backend, p, max_tokens=30 + 9 * at, temperature=at % 2, seed=at)
                    for at, p in enumerate(prompts)
                )
            )

    replayed = await answers()
    assert tape.replayed > 50
    tape.replayed = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CHOICE, lambda spec, loaded: None)
        eager = await answers()
    assert tape.replayed == 0
    assert [answer.tokens for answer in replayed] == [answer.tokens for answer in eager]


async def test_rows_that_leave_and_grow(llama: Path, reference: Reference, tape: Tape) -> None:
    prompts = [prompt_of(180 + 17 * at, at) for at in range(6)]
    async with started(llama, max_num_seqs=4) as backend:
        found = await asyncio.gather(
            *(ask(backend, p, max_tokens=15 * (1 + at)) for at, p in enumerate(prompts))
        )
    assert tape.replayed > 40
    for prompt, answer in zip(prompts, found, strict=True):
        reference.assert_greedy(prompt, answer.tokens)


async def test_adapters_are_replayed_too(llama: Path, tmp_path: Path, tape: Tape) -> None:
    first = tiny.write_adapter(tmp_path / "first", llama, seed=1)
    second = tiny.write_adapter(tmp_path / "second", llama, seed=2, rank=2)
    names = [None, "a", "b", "a"]

    async def tokens(backend: Any) -> list[list[int]]:
        found = await asyncio.gather(
            *(ask(backend, prompt_of(9), name, max_tokens=25) for name in names)
        )
        return [answer.tokens for answer in found]

    async with started(llama) as backend:
        await backend.mount_adapter("a", first)
        await backend.mount_adapter("b", second)
        mixed = await tokens(backend)
        assert tape.replayed > 20
        await backend.unmount_adapter("a")
        await backend.mount_adapter("a", first)
        again = await tokens(backend)
        alone = [(await ask(backend, prompt_of(9), name, max_tokens=25)).tokens for name in names]
    assert mixed == again == alone
    assert len({tuple(answer) for answer in mixed}) == 3


async def test_what_cannot_be_recorded_runs_eagerly(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(step: Step) -> Step:
        raise RuntimeError("this step waits for the device")

    monkeypatch.setattr(CHOICE, lambda spec, loaded: refuse)
    async with started(llama) as backend:
        assert (await ask(backend, prompt_of(5))).reason == "length"


def test_lengths_are_rounded_up_by_half_steps() -> None:
    assert [round_up(length, 2000) for length in (1, 256, 257, 385, 513, 1400, 1900)] == [
        256, 256, 384, 512, 768, 1536, 2000,
    ]  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ON_CUDA)
async def test_cuda_graphs_give_the_eager_answers(name: str, model: Callable[[str], Path]) -> None:
    prompts = [prompt_of(5 + 40 * at, at) for at in range(5)]
    found = []
    for eager in (True, False):
        async with started(model(name), device="cuda", enforce_eager=eager) as backend:
            answers = await asyncio.gather(
                *(ask(backend, p, max_tokens=40 + at) for at, p in enumerate(prompts))
            )
            found.append([answer.tokens for answer in answers])
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_step_that_waits_for_the_device_cannot_be_recorded() -> None:
    value = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError):
        CudaRecorder()(lambda: value * value.sum().item())
