"""The real engine on the CPU: what the contract suite does not ask of every backend."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from openllm.backends.base import join
from openllm.backends.stream import Inbox
from openllm.backends.stream import deltas as deltas_of
from openllm.backends.vllm.backend import BACKEND
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    Conflict,
    EngineDead,
    InvalidRequest,
    Overloaded,
    UnsupportedFeature,
    WeightsError,
)
from openllm.types import (
    SamplingParams,
    Structure,
    StructureKind,
    TokenDelta,
    TokenRequest,
    new_request_id,
)
from tests.backends.hostile import BAD, overlapping, structure
from tests.tiny import write_adapter, write_encoder, write_llama

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]

PROMPT = [1, 40, 50, 60]
ADAPTERS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vllm")
    base = write_llama(path / "model")
    for at, name in enumerate(ADAPTERS):
        write_adapter(path / name, base, seed=at + 1)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(folder: Path) -> AsyncIterator[Any]:
    spec = LLMSpec(
        model_id=str(folder / "model"), max_num_seqs=8, max_queue=4, max_adapters=3, max_lora_rank=8
    )
    backend = BACKEND(spec, folder / "model", Settings(drain_seconds=119.5))
    await backend.start()
    yield backend
    await backend.close()


def request(
    adapter: str | None = None, prompt: list[int] | None = None, **params: Any
) -> TokenRequest:
    said = {"max_tokens": 12, "ignore_eos": True, "temperature": 0.0, **params}
    return TokenRequest(new_request_id(), prompt or PROMPT, SamplingParams(**said), adapter)


async def deltas(engine: Any, adapter: str | None = None, **params: Any) -> list[TokenDelta]:
    return [delta async for delta in deltas_of(engine, request(adapter, **params))]


def tokens(found: list[TokenDelta], index: int = 0) -> list[int]:
    return [token for delta in found if delta.index == index for token in delta.token_ids]


def engine_processes() -> set[int]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended; a zombie is one of these
            if "EngineCore" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


async def idle(engine: Any) -> bool:
    """Whether the engine's own scheduler empties within five seconds; it says so after one more
    request.
    """
    for _ in range(50):
        await deltas(engine, max_tokens=1)
        if engine._launched.engine.get_num_unfinished_requests() == 0:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_the_engines_process_has_the_servers_time_to_drain(engine: Any) -> None:
    """It was told what the environment says, whatever --drain-seconds had said."""
    assert engine._launched.config.shutdown_timeout == 120


async def test_the_short_way_gives_what_asyncllm_gives(engine: Any) -> None:
    """Deltas that bypass vLLM's output objects against `AsyncLLM.generate` itself."""
    from openllm.backends.vllm.params import sampling_params

    params = SamplingParams(max_tokens=40, ignore_eos=True, temperature=1.0, seed=7, n=3)
    found = [d async for d in deltas_of(engine, TokenRequest("a", PROMPT, params))]
    theirs: dict[int, list[int]] = {0: [], 1: [], 2: []}
    prompt = {"type": "token", "prompt_token_ids": PROMPT}
    async for output in engine._launched.engine.generate(prompt, sampling_params(params), "b"):
        for choice in output.outputs:
            theirs[choice.index] += choice.token_ids
    assert {index: tokens(found, index) for index in range(3)} == theirs
    assert [d.finish_reason for d in found if d.finish_reason] == ["length"] * 3


async def test_an_adapter_per_request_in_one_batch(engine: Any, folder: Path) -> None:
    for name in ADAPTERS:
        await engine.mount_adapter(name, folder / name)
    names = [None, *ADAPTERS]
    alone = [tokens(await deltas(engine, name)) for name in names]
    assert len({tuple(answer) for answer in alone}) == 4
    # twice over, so that base rows stand beside every slot: the last one is never filled on the CPU
    mixed = await asyncio.gather(*(deltas(engine, name) for name in [*names, *names]))
    assert [tokens(found) for found in mixed] == [*alone, *alone]


async def test_adapters_come_and_go(engine: Any, folder: Path) -> None:
    with pytest.raises(Conflict, match="All 3"):
        await engine.mount_adapter("fourth", folder / "red")
    red, green = tokens(await deltas(engine, "red")), tokens(await deltas(engine, "green"))
    await engine.unmount_adapter("red")
    with pytest.raises(AdapterNotFound, match="red"):
        await deltas(engine, "red")
    await engine.mount_adapter(
        "red", folder / "green"
    )  # the same name, other weights: nothing old is reused
    assert tokens(await deltas(engine, "red")) == green != red
    await engine.mount_adapter("red", folder / "red")
    assert tokens(await deltas(engine, "red")) == red


async def test_an_adapter_that_does_not_load_is_refused_and_costs_no_slot(
    engine: Any, folder: Path
) -> None:
    await engine.unmount_adapter("blue")
    with pytest.raises(WeightsError) as caught:
        await engine.mount_adapter("broken", folder / "nowhere")
    assert str(folder) not in str(caught.value)
    await engine.mount_adapter("blue", folder / "blue")


async def test_greedy_choices_are_copies(engine: Any) -> None:
    found = await deltas(engine, n=3, logprobs=1, prompt_logprobs=1)
    assert tokens(found, 0) == tokens(found, 1) == tokens(found, 2)
    assert sorted(d.index for d in found if d.finish_reason) == [0, 1, 2]
    assert [d.index for d in found if d.prompt_logprobs] == [0]


async def test_prefix_hits_are_counted_and_told(engine: Any) -> None:
    prompt = [1, *range(30, 350)]  # more than two blocks of the CPU's 128 tokens
    before = engine.stats()
    first = await deltas(engine, prompt=prompt)
    second = await deltas(engine, prompt=prompt)
    assert first[0].cached_tokens == 0
    assert second[0].cached_tokens == 256
    after = engine.stats()
    assert after.prefix_hits - before.prefix_hits == 256
    assert after.prefix_queries - before.prefix_queries == 2 * len(prompt)


async def test_a_choice_that_ended_early_is_taken_from_the_engine(engine: Any) -> None:
    asked = request(n=2, max_tokens=300, temperature=1.0)
    inbox = Inbox(join)
    running = await engine.submit(asked, inbox)
    await inbox.get()
    running.stop(0)
    ends = {}
    while len(ends) < 2:
        delta = await inbox.get()
        if delta.finish_reason:
            ends[delta.index] = delta.finish_reason
    assert ends == {0: "cancelled", 1: "length"}
    running.stop(0)  # it is over
    running.cancel()
    assert await idle(engine)


async def test_cancelled_on_the_way_in(engine: Any) -> None:
    slow = request(structure=Structure(StructureKind.REGEX, "(a|b){3,20}"), max_tokens=200)
    for wait in (0, 0.001, 0.02):
        task = asyncio.ensure_future(anext(deltas_of(engine, slow)))
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await idle(engine)
    assert engine.stats().running == 0


async def test_the_loop_is_free_while_a_schema_compiles(engine: Any) -> None:
    names = {f"key{at}": {"enum": [f"value {at} {n}" for n in range(20)]} for at in range(400)}
    wide = json.dumps(
        {
            "type": "object",
            "properties": names,
            "required": list(names),
            "additionalProperties": False,
        }
    )
    schema = Structure(StructureKind.JSON_SCHEMA, wide)
    task = asyncio.ensure_future(deltas(engine, structure=schema, max_tokens=4))
    plain = await asyncio.wait_for(deltas(engine, max_tokens=4), 5)
    assert len(tokens(plain)) == 4
    await asyncio.gather(task, return_exceptions=True)


async def test_a_bad_structure_is_an_invalid_request(engine: Any) -> None:
    plain = asyncio.ensure_future(deltas(engine, max_tokens=400))
    for bad in BAD:
        with pytest.raises(InvalidRequest) as refused:
            await deltas(engine, structure=bad)
        assert "\n" not in str(refused.value)
        assert refused.value.param == "structure"
    assert len(tokens(await plain)) == 400


async def test_what_its_steps_cannot_afford_is_refused_before_admission(engine: Any) -> None:
    """Each of these would stop all streams for seconds, and the last one not at its beginning."""
    for hostile in (overlapping(151), overlapping(600), overlapping(600, head="a" * 40)):
        with pytest.raises(InvalidRequest, match=r"0\.05 s of CPU for one token"):
            await deltas(engine, structure=hostile, max_tokens=8)


async def test_the_first_structure_decides_for_no_other(engine: Any) -> None:
    """vLLM left to itself takes this one for another follower, which then has all structures."""
    with pytest.raises(InvalidRequest, match="regex"):
        await deltas(engine, structure=structure("regex", r"\p{L}+"))
    for kind, value in (("regex", "[ab]{4}"), ("choice", ["abba"]), ("grammar", 'root ::= "abba"')):
        found = await deltas(engine, structure=structure(kind, value), ignore_eos=False)
        assert found[-1].finish_reason == "stop"


async def test_a_grammar_in_larks_form(engine: Any) -> None:
    found = await deltas(engine, structure=structure("grammar", 'start: "ab"'), ignore_eos=False)
    assert found[-1].finish_reason == "stop"


async def test_too_many_logprobs_are_refused_before_admission(engine: Any) -> None:
    with pytest.raises(InvalidRequest, match="at most 20"):
        engine.check(request(logprobs=21))
    engine.check(request(logprobs=20))


async def test_the_queue_is_bounded(engine: Any) -> None:
    results = await asyncio.gather(
        *(deltas(engine, max_tokens=4) for _ in range(20)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 20 - 12  # 8 at once, 4 waiting
    assert all(tokens(r) for r in results if isinstance(r, list))
    wide = await deltas(
        engine, n=20, temperature=1.0, max_tokens=2
    )  # alone, even more choices than that may come
    assert sorted(d.index for d in wide if d.finish_reason) == list(range(20))


async def test_seeds_hold_where_prompts_are_more_than_a_step_takes(engine: Any) -> None:
    """Cut in two, such a prompt would end vLLM's CPU engine."""
    step = engine._launched.config.scheduler_config.max_num_batched_tokens
    prompts = [[1, 20 + at, *(30 + (at * place) % 300 for place in range(490))] for at in range(10)]
    assert sum(map(len, prompts)) > step
    asked: dict[str, Any] = {"seed": 5, "temperature": 1.0, "max_tokens": 6}
    alone = [await deltas(engine, prompt=prompt, **asked) for prompt in prompts[:3]]
    found = await asyncio.gather(
        *(deltas(engine, prompt=prompt, **asked) for prompt in prompts)
    )  # raises if one dies
    assert [tokens(one) for one in found[:3]] == [tokens(one) for one in alone]


async def test_a_seed_is_refused_where_prompts_are_cut(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._launched.config.scheduler_config, "enable_chunked_prefill", True)
    with pytest.raises(UnsupportedFeature, match="seed where prompts are cut") as caught:
        engine.check(request(seed=1, temperature=1.0))
    assert caught.value.param == "seed"
    engine.check(request(seed=1))  # greedy: the seed has no say
    engine.check(request(temperature=1.0))


async def test_embedding_needs_an_embedding_engine(engine: Any) -> None:
    with pytest.raises(UnsupportedFeature, match="task=embed"):
        await engine.embed([PROMPT])


async def test_only_the_loopback_listens(engine: Any) -> None:
    group = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        c.laddr.ip
        for p in group
        for c in p.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert set(listening) <= {"127.0.0.1", "::1"}


async def test_the_death_of_the_engine_is_seen_at_once(engine: Any) -> None:
    """Last of this engine: its process is killed."""
    assert engine.failure is None
    live = [
        asyncio.ensure_future(deltas(engine, max_tokens=400, temperature=1.0)) for _ in range(3)
    ]
    await asyncio.sleep(0.1)
    for pid in engine_processes():
        os.kill(pid, signal.SIGKILL)
    ended = await asyncio.wait_for(asyncio.gather(*live, return_exceptions=True), 10)
    assert [type(error) for error in ended] == [EngineDead] * 3
    assert engine.failure
    with pytest.raises(EngineDead, match="has stopped"):
        await deltas(engine)
    await engine.close()
    assert engine.stats().running == 0
    with pytest.raises(EngineDead, match="not been started"):
        await deltas(engine)
    await engine.close()


async def test_closing_ends_live_requests_as_cancelled_and_leaves_no_process(folder: Path) -> None:
    before = engine_processes()
    spec = LLMSpec(model_id=str(folder / "model"), kv_cache_memory=8 << 20)
    backend = BACKEND(spec, folder / "model")
    await backend.start()
    with pytest.raises(Exception, match="max_adapters=N"):
        await backend.mount_adapter("late", folder / "red")
    live = asyncio.ensure_future(deltas(backend, max_tokens=400, n=2, temperature=1.0))
    await asyncio.sleep(0.1)
    await backend.close()
    found = await live
    assert [d.finish_reason for d in found if d.finish_reason] == ["cancelled", "cancelled"]
    assert engine_processes() == before


async def test_embeddings_equal_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    path = write_encoder(tmp_path / "encoder", pooling="mean")
    backend = BACKEND(LLMSpec(model_id=str(path), task="embed"), path)
    await backend.start()
    try:
        prompts = [[5, 6, 7, 8], [9, 10], list(range(20, 60))]
        found = await backend.embed(prompts)
        assert found.prompt_tokens == 46
        model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
        for prompt, vector in zip(prompts, found.vectors, strict=True):
            with torch.inference_mode():
                expected = model(torch.tensor([prompt])).last_hidden_state[0].mean(0)
            assert vector == pytest.approx(expected.tolist(), abs=1e-4)
            assert (await backend.embed(prompts[:1], "mean")).vectors[0] == pytest.approx(
                found.vectors[0], abs=1e-5
            )
        with pytest.raises(UnsupportedFeature, match="'mean'"):
            await backend.embed(prompts, "cls")
        with pytest.raises(InvalidRequest, match="generation"):
            await deltas(backend)
    finally:
        await backend.close()
