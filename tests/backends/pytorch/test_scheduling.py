"""Who is computed when: chunks, growth, giving way, shared prefixes, leaving; the tokens are those
of single runs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from openllm.backends.base import join
from openllm.backends.stream import Inbox, deltas
from openllm.errors import ConfigurationError
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

TOKEN_BYTES = 2 * 2 * 32 * 4  # keys and values, two layers, one head of 32, fp32


async def test_prompts_in_chunks_beside_decoding_rows(llama: Path, reference: Reference) -> None:
    prompts = [prompt_of(length, length) for length in (3, 90, 17, 8, 61, 1, 33)]
    async with started(llama, engine_args={"prefill_tokens": 8}, max_num_seqs=4) as backend:
        answers = await asyncio.gather(*(ask(backend, prompt, max_tokens=25) for prompt in prompts))
    for prompt, answer in zip(prompts, answers, strict=True):
        reference.assert_greedy(prompt, answer.tokens)


async def test_a_long_prompt_does_not_hold_up_those_who_decode(llama: Path) -> None:
    async with started(llama, engine_args={"prefill_tokens": 8}) as backend:
        long_one = deltas(backend, request(prompt_of(240, 1), max_tokens=1))
        reading = deltas(backend, request(prompt_of(4), max_tokens=200))
        await anext(reading)
        first = asyncio.ensure_future(anext(long_one))
        seen = 0
        while not first.done():
            await anext(reading)
            seen += 1
        # 240 tokens at 8 a step: the other row got a token in every one of those 30 steps.
        assert seen >= 15
        await reading.aclose()
        await long_one.aclose()


async def test_rows_outgrow_their_slab(llama: Path, reference: Reference) -> None:
    prompts = [prompt_of(200 + 10 * seed, seed) for seed in range(3)]
    async with started(llama) as backend:
        answers = await asyncio.gather(
            *(ask(backend, prompt, max_tokens=280) for prompt in prompts)
        )
    for prompt, answer in zip(prompts, answers, strict=True):
        assert len(answer.tokens) == 280
        reference.assert_greedy(prompt, answer.tokens)


async def test_the_youngest_gives_way_when_memory_is_short(
    llama: Path, reference: Reference
) -> None:
    # Room for all four while they are short, and for fewer once they have outgrown their first
    # slab.
    memory = 2000 * TOKEN_BYTES
    async with started(llama, kv_cache_memory=memory, enable_prefix_caching=False) as backend:
        prompts = [prompt_of(20 + seed, seed) for seed in range(4)]
        answers = await asyncio.gather(
            *(ask(backend, prompt, max_tokens=300) for prompt in prompts)
        )
        assert backend.stats().preemptions > 0
        await until_idle(backend)
    for prompt, answer in zip(prompts, answers, strict=True):
        reference.assert_greedy(prompt, answer.tokens)


async def test_memory_too_small_for_the_context_is_refused(llama: Path) -> None:
    with pytest.raises(ConfigurationError, match="for its keys and values"):
        async with started(llama, kv_cache_memory=100 * TOKEN_BYTES, max_model_len=400):
            pass
    async with started(llama, kv_cache_memory=400 * TOKEN_BYTES) as backend:
        assert 100 < backend.info.max_model_len < 400


async def test_shared_prefixes_are_computed_once(llama: Path, reference: Reference) -> None:
    system = prompt_of(64)
    async with started(llama) as backend:
        first = await ask(backend, system + prompt_of(5, 1))
        second = await ask(backend, system + prompt_of(7, 2))
        follow_up = system + prompt_of(5, 1) + first.tokens + prompt_of(6, 3)
        third = await ask(backend, follow_up)
        assert (first.cached, second.cached) == (0, 64)
        assert third.cached >= 64 + 5 + 11
        stats = backend.stats()
        assert stats.prefix_queries == 69 + 71 + len(follow_up)
        assert stats.prefix_hits == second.cached + third.cached
    for prompt, answer in ((system + prompt_of(7, 2), second), (follow_up, third)):
        reference.assert_greedy(prompt, answer.tokens)


async def test_prefix_caching_can_be_switched_off(llama: Path) -> None:
    async with started(llama, enable_prefix_caching=False) as backend:
        answers = [await ask(backend, prompt_of(40)) for _ in range(2)]
        assert [answer.cached for answer in answers] == [0, 0]
        assert backend.stats().prefix_hits == 0


async def test_choices_share_one_prefill_and_may_outnumber_the_slots(llama: Path) -> None:
    asked = {"n": 7, "temperature": 1.0, "seed": 5, "max_tokens": 9}
    async with started(llama, max_num_seqs=3, enable_prefix_caching=False) as backend:
        answers = await ask_all(backend, request(prompt_of(50), **asked))
        for index, answer in enumerate(answers):
            alone = await ask(backend, prompt_of(50), temperature=1.0, seed=5 + index, max_tokens=9)
            assert answer.tokens == alone.tokens
        await until_idle(backend)


async def test_leaving_at_every_moment_frees_everything(llama: Path, reference: Reference) -> None:
    async with started(llama, max_num_seqs=2, engine_args={"prefill_tokens": 8}) as backend:

        async def leave(after: float, length: int) -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(backend, prompt_of(length), max_tokens=250), after)

        stays = asyncio.ensure_future(ask(backend, prompt_of(30), max_tokens=100))
        # One while decoding, one while its prompt is computed, some while they wait, one before its
        # first step.
        await asyncio.gather(*(leave(0.01 * at, 20 + 60 * (at % 4)) for at in range(1, 7)))
        unread = deltas(backend, request(prompt_of(9)))
        await unread.aclose()
        reference.assert_greedy(prompt_of(30), (await stays).tokens)
        await until_idle(backend)


async def test_one_choice_can_be_stopped(llama: Path) -> None:
    async with started(llama) as backend:
        asked = request(prompt_of(8), n=2, max_tokens=300, temperature=1.0)
        answers = [Answer(), Answer()]
        inbox = Inbox(join)
        running = await backend.submit(asked, inbox)
        while not all(answer.reason for answer in answers):
            delta = await inbox.get()
            answers[delta.index].add(delta)
            running.stop(1)  # with the first delta: a busy reader may see 300 tokens at once
        assert (answers[0].reason, answers[1].reason) == ("length", "cancelled")
        assert len(answers[0].tokens) == 300
        assert len(answers[1].tokens) < 300


async def test_closing_ends_live_requests_as_cancelled(llama: Path) -> None:
    async with started(llama, max_num_seqs=1) as backend:
        tasks = [
            asyncio.ensure_future(ask(backend, prompt_of(5), max_tokens=400)) for _ in range(3)
        ]
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(*tasks)
    assert [answer.reason for answer in answers] == ["cancelled"] * 3
