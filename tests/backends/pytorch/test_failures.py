"""What goes wrong: one row, the thread, the numbers, the reader's loop; the rest goes on, and all
are told once.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from openllm.backends.stream import deltas
from openllm.errors import ContextLengthExceeded, EngineDead, InvalidRequest, Overloaded
from tests.backends.pytorch.conftest import (
    Answer,
    ask,
    ask_all,
    prompt_of,
    request,
    started,
    until_idle,
)
from tests.backends.reference import Reference

POISON = 380


def break_embedding(backend: Any, act: Callable[[], None], poison: int = POISON) -> None:
    """Make the model call `act` whenever it meets the token `poison`."""
    embedding = backend.load_model().get_input_embeddings()

    def look(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if bool((inputs[0] == poison).any()):
            act()

    embedding.register_forward_pre_hook(look)


def raise_error() -> None:
    raise RuntimeError("this token cannot be computed at /some/path")


@pytest.mark.parametrize("name", ["llama", "mamba"])
async def test_only_the_guilty_row_fails(name: str, model: Callable[[str], Path]) -> None:
    async with started(model(name)) as backend:
        good = [await ask(backend, prompt_of(10, seed), max_tokens=20) for seed in range(3)]
        said = {token for answer in good for token in answer.tokens} | set(prompt_of(20))
        poison = max(set(range(6, 380)) - said)
        break_embedding(backend, raise_error, poison)
        found = await asyncio.gather(
            *(ask(backend, prompt_of(10, seed), max_tokens=20) for seed in range(3)),
            ask(backend, [*prompt_of(6), poison], max_tokens=20),
        )
        assert [answer.tokens for answer in found[:3]] == [answer.tokens for answer in good]
        assert (found[3].reason, found[3].tokens) == ("error", [])
        assert "/some/path" not in (found[3].error or "")
        await until_idle(backend)
        assert backend.failure is None


async def test_all_choices_of_a_failing_request_end(llama: Path) -> None:
    async with started(llama) as backend:
        break_embedding(backend, raise_error)
        answers = await ask_all(backend, request([*prompt_of(6), POISON, 7], n=3))
        assert [answer.reason for answer in answers] == ["error"] * 3
        await until_idle(backend)


async def test_logits_that_are_no_numbers_end_the_request(llama: Path) -> None:
    async with started(llama) as backend:
        table = backend.load_model().get_input_embeddings()
        handle = table.register_forward_hook(lambda module, inputs, output: output * float("nan"))
        for temperature in (0.0, 1.0):
            answer = await ask(backend, prompt_of(6), temperature=temperature)
            assert (answer.reason, answer.tokens) == ("error", [])
            assert "NaN" in (answer.error or "")
        handle.remove()
        assert (await ask(backend, prompt_of(6))).reason == "length"


async def test_the_death_of_the_thread_is_told_to_all(llama: Path) -> None:
    async with started(llama) as backend:

        def die() -> None:
            raise SystemError("the device is gone")

        break_embedding(backend, die)
        readers = [
            asyncio.ensure_future(ask(backend, prompt_of(5), max_tokens=400)) for _ in range(2)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(EngineDead):
            await ask(backend, [POISON])
        for reader in readers:
            with pytest.raises(EngineDead):
                await reader
        assert "SystemError" in (backend.failure or "")
        with pytest.raises(EngineDead):
            await ask(backend, prompt_of(3))
        with pytest.raises(EngineDead):
            await backend.embed([prompt_of(3)])


async def test_a_reader_whose_loop_is_gone_does_not_hold_its_slot(llama: Path) -> None:
    async with started(llama) as backend:
        begun = threading.Event()

        async def read_a_little() -> None:
            generation = deltas(backend, request(prompt_of(5), max_tokens=400))
            await anext(generation)
            begun.set()
            asyncio.get_running_loop().stop()
            await asyncio.sleep(60)

        def elsewhere() -> None:
            loop = asyncio.new_event_loop()
            task = loop.create_task(read_a_little())
            loop.run_forever()
            loop.close()
            task._log_destroy_pending = False

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert begun.is_set()
        await until_idle(backend)
        assert (await ask(backend, prompt_of(4))).reason == "length"


async def test_a_full_queue_refuses_and_then_takes_again(llama: Path) -> None:
    async with started(llama, max_num_seqs=1, max_queue=2) as backend:
        running = deltas(backend, request(prompt_of(5), max_tokens=400))
        await anext(running)
        waiting = [asyncio.ensure_future(ask(backend, prompt_of(4))) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded) as refused:
            await ask(backend, prompt_of(3))
        assert refused.value.retry_after >= 1
        await running.aclose()
        assert [(await answer).reason for answer in waiting] == ["length"] * 2
        assert (await ask(backend, prompt_of(3))).reason == "length"


async def test_closing_ends_every_live_row_as_cancelled(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(llama) as backend:
        streams = [
            deltas(backend, request(prompt_of(5, seed), max_tokens=400)) for seed in range(4)
        ]
        for stream in streams:
            await anext(stream)
        await backend.close()
        ends = [[delta.finish_reason async for delta in stream][-1] for stream in streams]
    assert ends == ["cancelled"] * 4
    assert "died" not in caplog.text


async def test_closing_returns_the_memory_of_a_gpu_once_the_model_is_gone(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = []
    async with started(llama) as backend:
        await ask(backend, prompt_of(4))
        model = weakref.ref(backend.load_model())
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: gone.append(model() is None))
        await backend.close()
        assert gone == []  # no GPU is used
        await backend.start()
        await ask(backend, prompt_of(4))
        model = weakref.ref(backend.load_model())
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        await backend.close()
    assert gone == [True]


@pytest.mark.parametrize(
    ("prompt", "params", "error"),
    [
        ([], {}, InvalidRequest),
        ([10_000], {}, InvalidRequest),
        ([-1], {}, InvalidRequest),
        ([5], {"stop_token_ids": (9999,)}, InvalidRequest),
        ([5], {"logit_bias": {-4: 1.0}}, InvalidRequest),
        (prompt_of(500), {"max_tokens": 13}, ContextLengthExceeded),
    ],
)
async def test_what_cannot_work_is_refused(
    llama: Path, prompt: Any, params: Any, error: type[Exception]
) -> None:
    async with started(llama) as backend:
        with pytest.raises(error):
            await ask(backend, prompt, **params)


async def test_deltas_of_a_whole_context(llama: Path, reference: Reference) -> None:
    async with started(llama) as backend:
        answer = Answer()
        async for delta in deltas(backend, request(prompt_of(500), max_tokens=12)):
            answer.add(delta)
        assert (answer.reason, len(answer.tokens)) == ("length", 12)
        reference.assert_greedy(prompt_of(500), answer.tokens)
