"""Grammars live in processes of their own: what they may cost, who waits for whom, what is left."""

from __future__ import annotations

import asyncio
import re
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import numpy as np
import psutil
import pytest
from transformers import AutoTokenizer

from openllm.backends.grammar import store as stores
from openllm.backends.grammar.forkserver import FORKSERVER
from openllm.backends.grammar.frames import Vocabulary
from openllm.backends.grammar.guide import Guide, exchange
from openllm.backends.grammar.limits import GrammarLimits
from openllm.backends.grammar.source import MAX_SOURCE
from openllm.backends.grammar.store import GrammarStore
from openllm.errors import EngineError, InvalidRequest, Overloaded, UnsupportedFeature
from openllm.types import Structure
from tests.backends.hostile import BAD, doubling, overlapping, structure

DIGITS = structure("regex", "[0-9]{2}")
PATIENCE = 120.0  # seconds; only a failure takes so long


@asynccontextmanager
async def opened(vocabulary: Vocabulary, **limits: Any) -> AsyncIterator[GrammarStore]:
    store = GrammarStore(vocabulary, GrammarLimits(**limits))
    try:
        yield store
    finally:
        store.close()


def allowed(guide: Guide, vocabulary: Vocabulary) -> list[str]:
    """The tokens that may come next."""
    exchange([guide], PATIENCE)
    assert guide.knows
    assert guide.mask is not None
    bits = np.unpackbits(np.frombuffer(guide.mask, np.uint8), bitorder="little")
    tokenizer = AutoTokenizer.from_pretrained(vocabulary.weights_dir)
    return sorted(tokenizer.convert_ids_to_tokens(np.flatnonzero(bits).tolist()))


def token(vocabulary: Vocabulary, text: str) -> int:
    found: int = AutoTokenizer.from_pretrained(vocabulary.weights_dir).convert_tokens_to_ids(text)
    return found


def processes() -> list[psutil.Process]:
    """Those of grammars that live now."""
    assert FORKSERVER.pid is not None
    return psutil.Process(FORKSERVER.pid).children()


async def until_ended(found: list[psutil.Process]) -> None:
    await asyncio.to_thread(psutil.wait_procs, found, PATIENCE)
    assert not [process for process in found if process.is_running()]


async def test_a_guide_follows_what_is_drawn(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary) as store:
        use = await store.use(DIGITS)
        guide, other = use.open(), use.open()
        assert set("0123456789") <= set(allowed(guide, vocabulary))
        assert "a" not in allowed(guide, vocabulary)
        for text in "47":
            guide.accept(token(vocabulary, text))
            exchange([guide], PATIENCE)
        assert allowed(guide, vocabulary) == ["</s>"]
        assert "</s>" not in allowed(other, vocabulary)  # another choice, where it began


async def test_without_an_end_token_the_text_says_that_it_is_whole(vocabulary: Vocabulary) -> None:
    async with opened(attrs_less_ends(vocabulary)) as store:
        guide = (await store.use(DIGITS)).open()
        for text in "47":
            assert not guide.done
            guide.accept(token(vocabulary, text))
            exchange([guide], PATIENCE)
        assert guide.done
        assert not guide.knows


def attrs_less_ends(vocabulary: Vocabulary) -> Vocabulary:
    return Vocabulary(vocabulary.weights_dir, vocabulary.width, ())


async def test_what_cannot_be_followed_is_refused(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary) as store:
        for bad in [*BAD, structure("regex", "a" * (MAX_SOURCE + 1))]:
            with pytest.raises(InvalidRequest) as refused:
                await store.use(bad)
            assert "/" not in re.sub(r"#[/\w]*", "", str(refused.value))  # a place in a schema
            assert "\n" not in str(refused.value)
            assert refused.value.param == "structure"
        await store.use(DIGITS)


async def test_a_tokenizer_that_is_not_there(vocabulary: Vocabulary) -> None:
    missing = Vocabulary(vocabulary.weights_dir + "/gone", vocabulary.width, vocabulary.ends)
    async with opened(missing) as store:
        with pytest.raises(UnsupportedFeature, match="tokenizer"):
            await store.use(DIGITS)


@attrs.define
class Counted:
    """The forkserver, and how often it was asked."""

    forks: int = 0

    def fork(self, vocabulary: Vocabulary) -> Any:
        self.forks += 1
        return FORKSERVER.fork(vocabulary)


async def test_a_structure_is_compiled_once_and_the_last_ones_are_kept(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(stores, "FORKSERVER", counted)
    monkeypatch.setattr(stores, "IDLE", 2)
    items = [structure("choice", [f"c{at}"]) for at in range(4)]
    async with opened(vocabulary) as store:
        same = await asyncio.gather(*(store.use(items[0]) for _ in range(5)))
        assert counted.forks == 1
        for use in same:
            use.release()
            use.release()  # again: it does not count
        for item in items[1:3]:
            (await store.use(item)).release()
        (await store.use(items[2])).release()
        assert counted.forks == 3
        held = await store.use(items[3])  # the first one goes now
        (await store.use(items[0])).release()
        assert counted.forks == 5
        held.open()
        assert held.grammar.error is None  # in use, so it stays


async def test_too_many_structures_in_use_are_refused(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "IN_USE", 1)
    async with opened(vocabulary) as store:
        use = await store.use(DIGITS)
        with pytest.raises(Overloaded) as refused:
            await store.use(structure("choice", ["a"]))
        assert refused.value.retry_after >= 1
        use.release()
        await store.use(structure("choice", ["a"]))


async def test_compiling_is_bounded(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary, quick_seconds=0.05, compile_seconds=0.2) as store:
        with pytest.raises(InvalidRequest, match=r"more than 0\.2 s of CPU to compile"):
            await store.use(doubling())
        await store.use(DIGITS)


async def test_memory_is_bounded(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary, memory=64 << 20) as store:
        with pytest.raises(InvalidRequest, match="memory"):
            await store.use(structure("choice", [f"number {at}" for at in range(100_000)]))
        await store.use(DIGITS)


async def test_those_that_take_long_wait_for_each_other_only(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "QUICK", 1)
    monkeypatch.setattr(stores, "SLOW", 1)
    monkeypatch.setattr(stores, "WAIT_SECONDS", PATIENCE)
    limits = {"quick_seconds": 0.05, "compile_seconds": 1000.0, "trial": 0}
    async with opened(vocabulary, **limits) as store:
        slow = asyncio.ensure_future(store.use(doubling(6000)))
        for at in range(3):  # one is enough to wait for the slow one to leave the quick lane
            await store.use(structure("choice", [f"c{at}"]))
        late = asyncio.ensure_future(store.use(doubling(600)))
        await store.use(structure("choice", ["c3"]))
        assert not slow.done()
        assert not late.done()
        slow.cancel()  # its client leaves: its place is free, its process ends
        assert (await late).grammar.error is None
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_process_ends_when_nobody_waits_for_it(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary, quick_seconds=1000.0) as store:
        await store.use(DIGITS)
        before = processes()
        waiting = [asyncio.ensure_future(store.use(doubling(6000))) for _ in range(2)]
        async with asyncio.timeout(PATIENCE):
            while not (new := [one for one in processes() if one not in before]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert new[0].is_running()  # the other one still waits
        waiting[1].cancel()
        await until_ended(new)


async def test_a_token_is_bounded_and_its_structure_is_not_tried_again(
    vocabulary: Vocabulary,
) -> None:
    async with opened(vocabulary, mask_seconds=0.2, trial=0) as store:
        use = await store.use(overlapping(1500))
        guides = [use.open() for _ in range(2)]
        guides[0].accept(token(vocabulary, "a"))
        exchange(guides, PATIENCE)
        for guide in [*guides, use.open()]:
            assert isinstance(guide.error, InvalidRequest)
            assert "0.2 s of CPU for one token" in str(guide.error)
        use.release()
        with pytest.raises(InvalidRequest, match="for one token"):
            await store.use(overlapping(1500))


async def test_what_costs_too_much_in_a_trial_is_not_admitted(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(stores, "FORKSERVER", counted)
    async with opened(vocabulary, trial_seconds=0.2) as store:
        for _ in range(2):
            with pytest.raises(InvalidRequest, match=r"more than 0\.2 s of CPU for one token"):
                await store.use(overlapping(1500))
        assert counted.forks == 1  # what is known of it is not found out again
        with pytest.raises(InvalidRequest):
            await store.use(overlapping(1500, tail="y ::= x0"))


async def test_memory_of_all_is_bounded(vocabulary: Vocabulary) -> None:
    items = [structure("choice", [str(n) for n in range(3000 + at)]) for at in range(3)]
    async with opened(vocabulary) as store:
        size = (await store.use(items[0])).grammar.size
    async with opened(vocabulary, total_memory=int(size * 2.5)) as store:
        uses = [await store.use(item) for item in items[:2]]
        with pytest.raises(Overloaded, match="memory"):
            await store.use(items[2])
        uses[0].release()  # it makes room
        await store.use(items[2])


async def test_a_request_is_bounded(vocabulary: Vocabulary) -> None:
    digits = structure("regex", "[0-9]+")
    async with opened(vocabulary, request_seconds=0.001) as store:
        use = await store.use(digits)
        guide = use.open()
        for _ in range(10_000):
            guide.accept(token(vocabulary, "1"))
            exchange([guide], PATIENCE)
            if guide.error is not None:
                break
        assert "the most for one request" in str(guide.error)
        other = await store.use(digits)
        assert other.grammar is use.grammar  # it was that request, not the structure
        assert other.open().knows


async def test_a_process_that_is_killed(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary) as store:
        use = await store.use(DIGITS)
        guide = use.open()
        for process in processes():
            process.kill()
        guide.accept(token(vocabulary, "1"))
        exchange([guide], PATIENCE)
        assert isinstance(guide.error, EngineError)
        again = (await store.use(DIGITS)).open()
        assert "1" in allowed(again, vocabulary)


async def test_a_forkserver_that_is_killed(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary) as store:
        guide = (await store.use(DIGITS)).open()
        assert FORKSERVER.pid is not None
        psutil.Process(FORKSERVER.pid).kill()
        guide.accept(token(vocabulary, "1"))
        exchange([guide], PATIENCE)
        assert guide.knows  # what it began goes on
        await store.use(structure("choice", ["a", "b"]))


async def test_closing_leaves_no_process_of_a_grammar(vocabulary: Vocabulary) -> None:
    async with opened(vocabulary, quick_seconds=1000.0) as store:
        await store.use(DIGITS)
        before = len(processes())
        waiting = asyncio.ensure_future(store.use(doubling(6000)))
        async with asyncio.timeout(PATIENCE):
            while len(processes()) == before:  # noqa: ASYNC110  processes have no event
                await asyncio.sleep(0.01)
        left = processes()
    await asyncio.wait([waiting])
    await until_ended(left)


LEAVE = """
    import asyncio, psutil, sys
    from openllm.backends.grammar.forkserver import FORKSERVER
    from openllm.backends.grammar.frames import Vocabulary
    from openllm.backends.grammar.limits import GrammarLimits
    from openllm.backends.grammar.store import GrammarStore
    from tests.backends.hostile import doubling, structure

    async def main():
        limits = GrammarLimits(quick_seconds=1000.0)
        store = GrammarStore(Vocabulary(sys.argv[1], 384, (2,)), limits)
        await store.use(structure("choice", ["a"]))
        task = asyncio.ensure_future(store.use(doubling(6000)))
        while len(psutil.Process(FORKSERVER.pid).children()) < 2:
            await asyncio.sleep(0.01)
        print(FORKSERVER.pid, flush=True)
        if sys.argv[2] == "abruptly":
            import os
            os._exit(0)

    asyncio.run(main())
"""


async def test_nothing_is_left_when_the_engine_is_gone(vocabulary: Vocabulary) -> None:
    await asyncio.gather(*(leave(vocabulary, how) for how in ("orderly", "abruptly")))


async def leave(vocabulary: Vocabulary, how: str) -> None:
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    command = [sys.executable, "-c", textwrap.dedent(LEAVE), vocabulary.weights_dir, how]
    child = await asyncio.create_subprocess_exec(*command, **pipes)
    assert child.stdout is not None
    line = await child.stdout.readline()
    try:
        server = psutil.Process(int(line))
        left = [server, *server.children()]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        left = []  # it has ended already
    _, said = await child.communicate()
    assert (child.returncode, said) == (0, b"")
    await until_ended(left)


def test_structures_are_what_they_say() -> None:
    """The tests above lean on their sizes: what the issue calls small."""
    for item in (overlapping(151), overlapping(1500), doubling()):
        assert isinstance(item, Structure)
        assert len(item.value) < 64 * 1024
