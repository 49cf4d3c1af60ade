"""Several engines of one model behind one `Backend`, over real sockets: here all in one process,
which the sockets do not know.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from openllm.backends.base import Backend, Embeddings, Logits
from openllm.backends.echo.backend import EchoBackend
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, Conflict, ReplicaLost, WeightsError
from openllm.llm.llm import LLM
from openllm.remote.replicas import ReplicatedBackend
from openllm.remote.server import EngineServer
from openllm.types import EncodedText
from tests.bento.models import write_echo_adapter, write_echo_weights
from tests.remote.test_backend import until

ENDLESS: dict[str, Any] = {"max_tokens": 300, "ignore_eos": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_weights(tmp_path_factory.mktemp("replicas") / "parrot")


@attrs.define
class Fleet:
    """Three engines, each of which can be ended and begun again."""

    spec: LLMSpec
    weights: Path
    folder: Path
    servers: dict[int, EngineServer] = attrs.field(factory=dict)

    def address(self, number: int) -> Path:
        return self.folder / f"{number}.sock"

    async def begin(self, number: int) -> EngineServer:
        (engine,) = {one.to_json() for one in self.spec.engines()}
        llm = LLM.from_spec(LLMSpec.from_json(engine), self.weights)
        server = self.servers[number] = EngineServer(llm, self.address(number))
        await server.listen()
        await server.start()
        return server

    async def kill(self, number: int) -> None:
        """As a process that is gone at once: connections are cut, nobody listens."""
        server = self.servers.pop(number)
        for user in tuple(server.users):
            user.cut()
        await server.close()

    def user(self, **options: Any) -> LLM:
        places = [self.address(number) for number in range(self.spec.replicas)]
        return LLM.from_spec(
            self.spec,
            self.weights,
            lambda spec, place: (ReplicatedBackend(spec, place, places, **options), "a test"),
        )


@pytest_asyncio.fixture
async def fleet(weights: Path, tmp_path: Path) -> AsyncIterator[Fleet]:
    spec = LLMSpec(
        model_id=str(weights),
        backend="echo",
        engine_args={"delay": 0.005},
        replicas=3,
        routing="cache-aware",
    )
    made = Fleet(spec, weights, tmp_path / "private")
    for number in range(3):
        await made.begin(number)
    yield made
    for server in made.servers.values():
        await server.close()


@pytest_asyncio.fixture
async def llm(fleet: Fleet) -> AsyncIterator[LLM]:
    async with fleet.user() as found:
        yield found


def running(llm: LLM) -> list[int]:
    """What each replica has, by its word."""
    return [one.stats.running for one in llm.backend.replicas]


def up(llm: LLM) -> list[bool]:
    return [one.up for one in llm.backend.replicas]


async def endless(llm: LLM, count: int, prompt: str = "hello") -> list[asyncio.Task[Any]]:
    """That many answers that run."""
    before = sum(running(llm))
    tasks = [asyncio.create_task(llm.generate(prompt, **ENDLESS)) for _ in range(count)]
    await until(lambda: sum(running(llm)) == before + count)
    return tasks


async def test_the_least_loaded_gets_the_next(llm: LLM) -> None:
    tasks = await endless(llm, 9)
    assert running(llm) == [3, 3, 3]
    assert llm.stats().running == 9
    for task in tasks:
        task.cancel()
    await until(lambda: not llm.stats().running)
    assert llm.backend_reason == "Backend echo: it was asked for. 3 replicas."


async def test_the_load_of_other_processes_counts(fleet: Fleet, llm: LLM) -> None:
    async with fleet.user() as other:
        tasks = await endless(other, 2)
        await until(lambda: sum(running(llm)) == 2)
        tasks += await endless(llm, 1)
        await until(lambda: running(llm) == [1, 1, 1])
        await asyncio.gather(*tasks)


async def test_one_that_is_killed_takes_only_its_own_along_and_comes_back(
    fleet: Fleet, llm: LLM
) -> None:
    tasks = await endless(llm, 6)
    await fleet.kill(1)
    await until(lambda: up(llm) == [True, False, True])
    meanwhile = [asyncio.create_task(llm.generate("there", max_tokens=9)) for _ in range(8)]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    lost = [answer for answer in ended if isinstance(answer, BaseException)]
    assert len(lost) == 2
    assert all(isinstance(error, ReplicaLost) and error.retry_after for error in lost)
    assert {answer.text for answer in await asyncio.gather(*meanwhile)} == {"there"}
    assert llm.failure is None
    assert llm.backend.ready
    await fleet.begin(1)
    await until(lambda: up(llm) == [True] * 3 and not sum(running(llm)))
    await endless(llm, 3)
    assert running(llm) == [1, 1, 1]


async def test_while_none_is_up_requests_are_told_when_to_come_again(
    fleet: Fleet, llm: LLM
) -> None:
    for number in range(3):
        await fleet.kill(number)
    await until(lambda: not any(up(llm)))
    assert not llm.backend.ready
    assert llm.failure is None
    with pytest.raises(ReplicaLost, match="just now") as caught:
        await llm.generate("hello")
    assert caught.value.retry_after == 5
    await fleet.begin(2)
    await until(lambda: llm.backend.ready)
    assert (await llm.generate("hello")).text == "hello"


async def test_what_was_up_is_given_up_by_whoever_starts_it(
    fleet: Fleet, llm: LLM, caplog: pytest.LogCaptureFixture
) -> None:
    spec = fleet.spec
    fleet.spec = attrs.evolve(spec, engine_args={"delay": "long"})
    for number in range(3):
        await fleet.kill(number)
        with contextlib.suppress(ConfigurationError):
            await fleet.begin(number)
    await until(lambda: len([said for said in caplog.messages if "is not up" in said]) == 3)
    assert llm.failure is None
    assert not llm.backend.ready
    fleet.spec = spec
    await fleet.kill(1)
    await fleet.begin(1)
    await until(lambda: llm.backend.ready)
    assert (await llm.generate("hello")).text == "hello"


async def test_one_that_leaves_finishes_what_it_has(fleet: Fleet, llm: LLM) -> None:
    tasks = await endless(llm, 3)
    leaving = fleet.servers[0]
    leaving.leave_off()
    await until(lambda: up(llm) == [False, True, True])
    assert (await llm.generate("hello", max_tokens=4)).text == "hello"
    answers = await asyncio.gather(*tasks)
    assert all(answer.outputs[0].finish_reason == "length" for answer in answers)
    await asyncio.wait_for(leaving.wait_unused(30), 5)


@attrs.define
class Held:
    """Stands in for what an engine does with texts: begins, and ends when it may."""

    may_end: asyncio.Event
    begun: int = 0

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        self.begun += 1
        await self.may_end.wait()
        return Embeddings([[1.0]], 2)

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        self.begun += 1
        await self.may_end.wait()
        return Logits([[1.0]], 2)


def hold(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, list[Held]]:
    """What embeds and classifies in each replica; and the event at which all of it ends."""
    may_end = asyncio.Event()
    found = [Held(may_end) for _ in fleet.servers]
    for number, held in enumerate(found):
        for name in ("embed", "classify"):
            monkeypatch.setattr(fleet.servers[number].llm.backend, name, getattr(held, name))
    return may_end, found


def asked(backend: Backend, kind: str) -> Coroutine[Any, Any, Embeddings | Logits]:
    return backend.embed([[1, 2]]) if kind == "embed" else backend.classify([EncodedText([1, 2])])


@pytest.mark.parametrize("kind", ["embed", "classify"])
async def test_texts_are_spread_and_finished_by_one_that_leaves(
    fleet: Fleet, llm: LLM, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    may_end, held = hold(fleet, monkeypatch)
    calls = [asyncio.create_task(asked(llm.backend, kind)) for _ in range(12)]
    await until(lambda: sum(one.begun for one in held) == 12)
    assert [one.begun for one in held] == [4, 4, 4]
    fleet.servers[0].leave_off()
    await until(lambda: up(llm) == [False, True, True])
    may_end.set()
    assert len(await asyncio.gather(*calls)) == 12
    await asyncio.wait_for(fleet.servers[0].wait_unused(30), 5)


async def test_texts_one_after_the_other_are_spread(
    fleet: Fleet, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, held = hold(fleet, monkeypatch)
    may_end.set()
    for _ in range(6):
        await llm.backend.embed([[1, 2]])
    assert [one.begun for one in held] == [2, 2, 2]


async def test_what_is_counted_does_not_fall_when_one_is_started_again(
    fleet: Fleet, llm: LLM
) -> None:
    backend = llm.backend
    assert isinstance(backend, ReplicatedBackend)
    counted = attrs.evolve(backend.stats(), prefix_hits=7)
    for server in fleet.servers.values():
        server.llm.backend.stats = lambda: counted  # type: ignore[method-assign]
    await until(lambda: llm.stats().prefix_hits == 21)
    await fleet.kill(0)
    await until(lambda: not up(llm)[0])
    assert llm.stats().prefix_hits == 21
    await fleet.begin(0)
    await until(lambda: all(up(llm)))
    assert llm.stats().prefix_hits == 21


async def test_all_have_the_same_adapters(fleet: Fleet, llm: LLM, tmp_path: Path) -> None:
    for name in ("pirate", "poet"):
        write_echo_adapter(tmp_path / name)
    await llm.mount_adapter("pirate", tmp_path / "pirate")
    assert all(server.llm.adapters == ("pirate",) for server in fleet.servers.values())
    with pytest.raises(Conflict):
        await llm.mount_adapter("pirate", tmp_path / "poet")
    await fleet.kill(1)
    await until(lambda: not up(llm)[1])
    await llm.mount_adapter("poet", tmp_path / "poet")
    await llm.unmount_adapter("pirate")
    answers = [llm.generate("ahoy", adapter_name="poet", max_tokens=4) for _ in range(6)]
    assert {answer.text for answer in await asyncio.gather(*answers)} == {"ahoy"}
    server = await fleet.begin(1)
    await until(lambda: all(up(llm)))
    assert server.llm.adapters == llm.adapters == ("poet",)


async def test_what_one_refuses_none_has(
    fleet: Fleet, llm: LLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_echo_adapter(tmp_path / "pirate")

    async def refuse(name: str, path: Path) -> None:
        raise WeightsError("It does not fit.")

    monkeypatch.setattr(fleet.servers[2].llm.backend, "mount_adapter", refuse)
    with pytest.raises(WeightsError, match="does not fit"):
        await llm.mount_adapter("pirate", tmp_path / "pirate")
    assert all(not server.llm.adapters for server in fleet.servers.values())


@attrs.define
class Slow:
    """Holds up the mounting of the adapter `name` from now on, until it may go on."""

    name: str
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)
    may_end: asyncio.Event = attrs.field(factory=asyncio.Event)

    def hold(self, monkeypatch: pytest.MonkeyPatch, only: object = None) -> None:
        """In all engines, also those to come, or `only` in one."""
        mount = EchoBackend.mount_adapter

        async def slow(backend: EchoBackend, name: str, path: Path) -> None:
            if name == self.name and only in (None, backend):
                self.begun.set()
                await self.may_end.wait()
            await mount(backend, name, path)

        monkeypatch.setattr(EchoBackend, "mount_adapter", slow)


async def test_one_that_ends_at_a_mount_takes_the_adapter_from_no_other(
    fleet: Fleet, llm: LLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_echo_adapter(tmp_path / "pirate")
    await fleet.kill(0)
    await until(lambda: up(llm) == [False, True, True])
    slow = Slow("pirate")
    slow.hold(monkeypatch, only=fleet.servers[2].llm.backend)
    mounting = asyncio.create_task(llm.mount_adapter("pirate", tmp_path / "pirate"))
    await asyncio.wait_for(slow.begun.wait(), 5)
    await until(lambda: fleet.servers[1].llm.adapters)
    await fleet.kill(2)
    await mounting
    assert fleet.servers[1].llm.adapters == llm.adapters == ("pirate",)


async def test_one_that_joins_gets_what_is_mounted_meanwhile(
    fleet: Fleet, llm: LLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pirate", "poet"):
        write_echo_adapter(tmp_path / name)
    await llm.mount_adapter("pirate", tmp_path / "pirate")
    await fleet.kill(1)
    await until(lambda: not up(llm)[1])
    slow = Slow("pirate")
    slow.hold(monkeypatch)
    server = await fleet.begin(1)
    await asyncio.wait_for(slow.begun.wait(), 5)
    await llm.mount_adapter("poet", tmp_path / "poet")
    slow.may_end.set()
    await until(lambda: all(up(llm)))
    assert set(server.llm.adapters) == set(llm.adapters) == {"pirate", "poet"}


async def test_a_mount_goes_on_to_one_that_comes_up_meanwhile(
    fleet: Fleet, llm: LLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_echo_adapter(tmp_path / "pirate")
    await fleet.kill(1)
    await until(lambda: not up(llm)[1])
    slow = Slow("pirate")
    slow.hold(monkeypatch)
    with monkeypatch.context() as patch:
        for server in fleet.servers.values():  # which would tell of it before it is mounted
            patch.setattr(server, "announce", lambda: None)
        mounting = asyncio.create_task(llm.mount_adapter("pirate", tmp_path / "pirate"))
        await asyncio.wait_for(slow.begun.wait(), 5)
        server = await fleet.begin(1)
        await until(lambda: all(up(llm)))
    slow.may_end.set()
    await mounting
    assert server.llm.adapters == llm.adapters == ("pirate",)


async def test_a_beginning_goes_where_it_was(llm: LLM) -> None:
    """Many conversations that share nothing lie on all; each one's turns on one."""
    heads = [" ".join(f"{word}{at}" for word in ("a", "b", "c", "d") * 3) for at in range(6)]
    where: list[int] = []
    for turn in range(2):
        for at, head in enumerate(heads):
            task = asyncio.create_task(llm.generate(head + " and then" * turn, **ENDLESS))
            await until(lambda: sum(running(llm)) == 1)
            found = running(llm).index(1)
            if turn:
                assert where[at] == found, "it was sent elsewhere"
            else:
                where.append(found)
            task.cancel()
            await until(lambda: not sum(running(llm)))
    assert len(set(where)) > 1


async def test_a_beginning_that_everybody_sends_is_not_one_replicas_alone(llm: LLM) -> None:
    await endless(llm, 24, "a long beginning that is the same for all of them " * 2)
    assert max(running(llm)) <= 1.25 * 8 + 5
    assert min(running(llm)) > 0


async def test_an_error_at_the_start_is_raised(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.kill(2)
    llm = fleet.user()
    starting = asyncio.create_task(llm.start())
    fleet.spec = attrs.evolve(fleet.spec, engine_args={"delay": "long"})
    with contextlib.suppress(ConfigurationError):
        await fleet.begin(2)
    try:
        with pytest.raises(ConfigurationError, match="delay"):
            await starting
    finally:
        await llm.aclose()


async def test_a_worker_that_replaces_another_waits_for_one_alone(fleet: Fleet) -> None:
    await fleet.kill(0)
    async with fleet.user(patient=False) as llm:
        assert (await llm.generate("hello")).text == "hello"
        await until(lambda: up(llm) == [False, True, True])


async def test_in_one_process_there_is_one_engine(fleet: Fleet, weights: Path) -> None:
    llm = LLM.from_spec(fleet.spec, weights)
    with pytest.raises(ConfigurationError, match="replicas need a process each"):
        await llm.start()
