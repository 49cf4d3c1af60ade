"""The engine's life: several loops and threads, cancelling, copies, and what happens to an LLM that
nobody closes.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import openllm
from openllm.backends.base import Backend
from openllm.backends.echo.backend import EchoBackend
from openllm.config.spec import LLMSpec
from openllm.errors import EngineDead, InvalidRequest
from openllm.llm.llm import LLM
from tests.tiny import write_llama

TEXT = "the engine reads token ids"
LONG = 8000  # tokens of context; an answer this long takes many seconds


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("host") / "tiny", max_position_embeddings=LONG)


def torch_llm(weights: Path) -> LLM:
    return LLM(weights, backend="pytorch")


def engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "openllm-pytorch"}


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


async def test_every_cancelled_answer_frees_the_engine(weights: Path) -> None:
    """A reader that leaves while a step's tokens are handed out is noticed like any other."""
    async with torch_llm(weights) as llm:
        for _ in range(6):
            task = asyncio.create_task(llm.generate(TEXT, max_tokens=LONG - 100, ignore_eos=True))
            while not llm.stats().running:  # noqa: ASYNC110  an engine has no event for it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(1):
                while llm.stats().running:  # noqa: ASYNC110  as above
                    await asyncio.sleep(0.01)


async def test_no_request_reads_the_models_files(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LLM.from_spec(LLMSpec(model_id=str(weights), backend="echo"), weights) as llm:
        read: list[Path] = []
        monkeypatch.setattr(Path, "read_text", lambda path, *_, **__: read.append(path))
        monkeypatch.setattr(Path, "read_bytes", lambda path, *_, **__: read.append(path))
        answer = await llm.generate("hello world", max_tokens=2)
        assert answer.outputs[0].token_ids
        assert read == []


def test_many_threads_with_loops_of_their_own(weights: Path) -> None:
    """Whichever loop came first ends while others still wait: they get an error, none waits for
    ever.
    """
    llm = torch_llm(weights)
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(
                asyncio.run(llm.generate(TEXT, max_tokens=5, ignore_eos=True))
                .outputs[0]
                .finish_reason
                or ""
            )
        except EngineDead as error:
            found.append(str(error))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == len(threads)
    assert "length" in found
    llm.close()


def test_a_stream_over_a_loop_that_ends(weights: Path) -> None:
    llm = torch_llm(weights)
    begun, leave = threading.Event(), threading.Event()

    async def hold() -> None:
        await llm.start()
        begun.set()
        await asyncio.to_thread(leave.wait)

    async def follow() -> None:
        async for _ in llm.generate_iterator(TEXT, max_tokens=LONG - 100, ignore_eos=True):
            leave.set()

    holder = threading.Thread(target=asyncio.run, args=(hold(),), daemon=True)
    holder.start()
    assert begun.wait(20)
    with pytest.raises(EngineDead, match=r"event loop .* has ended.*llm\.start"):
        asyncio.run(asyncio.wait_for(follow(), 20))
    llm.close()


def test_a_loop_of_its_own_serves_all_others(weights: Path) -> None:
    with torch_llm(weights) as llm:
        llm.run(llm.start())
        loop = llm.loop
        for _ in range(2):
            asyncio.run(llm.generate(TEXT, max_tokens=2))
        assert llm.loop is loop


def test_a_stream_in_a_script(weights: Path) -> None:
    with torch_llm(weights) as llm:
        whole = llm.run(llm.generate(TEXT, temperature=0, max_tokens=6, ignore_eos=True)).text
        pieces = llm.run(llm.generate_iterator(TEXT, temperature=0, max_tokens=6, ignore_eos=True))
        assert "".join(piece.outputs[0].text for piece in pieces) == whole
        for _ in llm.run(llm.generate_iterator(TEXT, max_tokens=LONG - 100, ignore_eos=True)):
            break
        assert wait_for(lambda: not llm.stats().running)


async def test_a_notebooks_cell_can_ask_without_await(weights: Path) -> None:
    """Inside a running loop the work is done on another one, where the engine then lives."""
    llm = torch_llm(weights)
    asked: Any = {"temperature": 0, "max_tokens": 4, "ignore_eos": True}
    ids = [5, 6, 7]
    whole = llm(ids, **asked)
    pieces = llm.run(llm.generate_iterator(ids, **asked))
    assert "".join(piece.outputs[0].text for piece in pieces) == whole.text
    assert (await llm.generate(ids, **asked)).text == whole.text
    assert llm.loop is not asyncio.get_running_loop()
    llm.close()
    assert not llm.started


def test_a_list_is_asked_at_once(weights: Path) -> None:
    asked: Any = {"temperature": 0, "max_tokens": 3, "ignore_eos": True}
    with torch_llm(weights) as llm:
        texts = ["one", "two", TEXT]
        answers = llm(texts, **asked)
        assert [answer.text for answer in answers] == [llm(text, **asked).text for text in texts]
        ids = [[5, 6, 7], [8, 9]]
        both = llm.run([llm.generate(each, **asked) for each in ids])
        assert [answer.prompt_token_ids for answer in both] == ids
        assert [answer.text for answer in llm(ids, **asked)] == [each.text for each in both]
        assert llm(ids[0], **asked).text == both[0].text  # one prompt of token ids
        assert llm([]) == []
        with pytest.raises(InvalidRequest, match="temperature"):
            llm(["a", "b"], temperature=9)
        assert wait_for(lambda: not llm.stats().running)


def test_what_it_shows_tells_its_state(weights: Path) -> None:
    llm = torch_llm(weights)
    assert repr(llm) == f"LLM({str(weights)!r}, backend='pytorch')"
    llm.run(llm.start())
    assert repr(llm) == f"LLM({str(weights)!r}, backend='pytorch', state='started')"
    llm.close()
    assert "state" not in repr(llm)


async def test_what_is_synchronous_says_so_inside_the_engines_loop(weights: Path) -> None:
    llm = torch_llm(weights)
    with pytest.raises(InvalidRequest, match="async with"), llm:
        pass
    await llm.start()
    for work in (llm.generate_iterator(TEXT), llm.generate(TEXT), [llm.generate(TEXT)]):
        with pytest.raises(InvalidRequest, match=r"await llm\.generate"):
            llm.run(work)  # type: ignore[arg-type]  # each by an overload of its own
    with pytest.raises(InvalidRequest, match="aclose"):
        llm.close()
    await llm.aclose()
    await llm.aclose()


def test_a_dropped_llm_takes_its_engine_along(weights: Path) -> None:
    before = engine_threads()
    llm = torch_llm(weights)
    llm(TEXT, max_tokens=2)
    [mine] = engine_threads() - before
    assert llm.runner  # refers to the LLM that refers to it
    del llm
    gc.collect()
    assert wait_for(lambda: not mine.is_alive())


async def test_a_dropped_llm_in_a_coroutine(weights: Path) -> None:
    before = engine_threads()
    llm = torch_llm(weights)
    await llm.generate(TEXT, max_tokens=2)
    [mine] = engine_threads() - before
    del llm
    gc.collect()
    async with asyncio.timeout(5):
        while mine.is_alive():  # noqa: ASYNC110  threads have no event
            await asyncio.sleep(0.01)


def test_a_coroutine_that_forgets_to_close(weights: Path) -> None:
    before = engine_threads()
    mine: set[threading.Thread] = set()

    async def ask() -> None:
        await torch_llm(weights).generate(TEXT, max_tokens=2)
        mine.update(engine_threads() - before)

    asyncio.run(ask())
    gc.collect()
    [thread] = mine
    assert wait_for(lambda: not thread.is_alive())


async def test_one_that_is_dropped_while_it_starts_comes_up_and_is_closed(weights: Path) -> None:
    """Closing an engine in the middle of its start would leave what the start goes on to make."""
    begun, go_on, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    did: list[str] = []

    class Slow(EchoBackend):
        async def start(self) -> None:
            begun.set()
            await go_on.wait()
            await super().start()
            did.append("started")

        async def close(self) -> None:
            did.append("closed")
            closed.set()
            await super().close()

    llm = LLM(
        LLMSpec(model_id=str(weights)), make_engine=lambda spec, place: (Slow(spec, place), "")
    )
    starting = asyncio.create_task(llm.start())
    await begun.wait()
    starting.cancel()
    await asyncio.wait([starting])
    del llm, starting
    gc.collect()
    for _ in range(10):  # turns of the loop, for whoever would close it now
        await asyncio.sleep(0)
    assert did == []
    go_on.set()
    async with asyncio.timeout(5):
        while not did:  # noqa: ASYNC110  nobody is left who could be told
            await asyncio.sleep(0.01)
        gc.collect()
        await closed.wait()
    assert did == ["started", "closed"]


def make_slow_echo(spec: LLMSpec, place: Path) -> tuple[Backend, str]:
    return EchoBackend(attrs.evolve(spec, engine_args={"delay": 0.001}), place), "slow"


def test_a_copy_keeps_its_weights_and_its_engine(weights: Path) -> None:
    llm = LLM(LLMSpec(model_id="no/such"), weights_dir=weights, make_engine=make_slow_echo)
    for other in (copy.copy(llm), pickle.loads(pickle.dumps(llm))):
        assert other.weights_dir == weights
        assert other.backend_reason == "slow"


def test_a_copy_is_the_same_model_not_started(weights: Path) -> None:
    with openllm.Llama.from_pretrained(weights, token="hf_secret", max_new_tokens=3) as llm:
        answer = llm(TEXT, temperature=0)
        dump = pickle.dumps(llm)
        assert b"hf_secret" not in dump
        for other in (copy.copy(llm), copy.deepcopy(llm), pickle.loads(dump)):
            assert type(other) is openllm.Llama
            assert other.spec == llm.spec
            assert not other.started
            with other:
                assert other(TEXT, temperature=0).outputs == answer.outputs
        assert llm(TEXT, temperature=0).outputs == answer.outputs
