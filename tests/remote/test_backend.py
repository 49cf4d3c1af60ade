"""Several LLMs in front of one engine, over real sockets: here all in one process, which the
sockets do not know.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    Conflict,
    EngineDead,
    Overloaded,
    WeightsError,
)
from openllm.llm.llm import LLM
from openllm.remote import frames, user
from openllm.remote.backend import RunnerBackend
from openllm.remote.peers import Peers
from openllm.remote.server import EngineServer
from tests.bento.models import write_echo_adapter, write_echo_weights

ENDLESS: dict[str, Any] = {"max_tokens": 400, "ignore_eos": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_weights(tmp_path_factory.mktemp("transport") / "parrot")


@pytest.fixture
def spec(weights: Path) -> LLMSpec:
    return LLMSpec(
        model_id=str(weights), backend="echo", engine_args={"delay": 0.002}, max_num_seqs=64
    )


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "private" / "engine.sock"


@pytest_asyncio.fixture
async def engine(spec: LLMSpec, weights: Path, address: Path) -> AsyncIterator[EngineServer]:
    server = EngineServer(LLM.from_spec(spec, weights), address)
    await server.listen()
    await server.start()
    yield server
    await server.close()


def user_of(spec: LLMSpec, weights: Path, address: Path) -> LLM:
    return LLM.from_spec(
        spec, weights, lambda spec, place: (RunnerBackend(spec, place, address), "a test")
    )


@pytest_asyncio.fixture
async def first(engine: EngineServer, weights: Path) -> AsyncIterator[LLM]:
    async with user_of(engine.llm.spec, weights, engine.address) as llm:
        yield llm


@pytest_asyncio.fixture
async def second(engine: EngineServer, weights: Path) -> AsyncIterator[LLM]:
    async with user_of(engine.llm.spec, weights, engine.address) as llm:
        yield llm


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)


async def test_only_this_user_can_reach_it(first: LLM, address: Path) -> None:
    assert (mode(address.parent), mode(address)) == (0o700, 0o600)


async def test_a_directory_that_others_can_enter_is_refused(
    spec: LLMSpec, weights: Path, tmp_path: Path
) -> None:
    os.chmod(tmp_path, 0o755)  # noqa: PTH101  a coroutine may not call pathlib's
    with pytest.raises(ConfigurationError, match="chmod 700"):
        await EngineServer(LLM.from_spec(spec, weights), tmp_path / "engine.sock").listen()
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        await EngineServer(LLM.from_spec(spec, weights), tmp_path / ("x" * 120)).listen()


async def test_two_users_at_once(first: LLM, second: LLM) -> None:
    answers = await asyncio.gather(
        *(
            llm.generate(f"{text} {at}", max_tokens=99)
            for at in range(20)
            for llm, text in ((first, "a"), (second, "b"))
        )
    )
    assert [answer.text for answer in answers] == [
        f"{text} {at}" for at in range(20) for text in "ab"
    ]
    await until(lambda: first.stats().running == 0)


async def test_one_frame_per_tick_for_all_requests(
    first: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = user.User.send

    def spy(self: user.User, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Step):
            sizes.append(len(frame.deltas))
        send(self, frame)

    monkeypatch.setattr(user.User, "send", spy)
    await asyncio.gather(
        *(first.generate("hello", max_tokens=50, ignore_eos=True) for _ in range(32))
    )
    assert sum(sizes) == 32 * 50
    assert len(sizes) < 32 * 50 / 4


async def test_a_user_that_vanishes_cancels_its_requests(
    engine: EngineServer, first: LLM, second: LLM
) -> None:
    lost = asyncio.create_task(first.generate("hello", **ENDLESS))
    kept = asyncio.create_task(second.generate("hello", max_tokens=100, ignore_eos=True))
    await until(lambda: engine.llm.stats().running == 2)
    # to tear the connection as a dying process does
    link = first.backend._link  # type: ignore[attr-defined]
    link.cut()
    with pytest.raises(EngineDead):
        await lost
    await until(lambda: engine.llm.stats().running == 1)
    assert (await kept).usage.completion_tokens == 100


async def test_closing_one_user_ends_its_requests_as_cancelled(
    engine: EngineServer, first: LLM
) -> None:
    task = asyncio.create_task(first.generate("hello", **ENDLESS))
    await until(lambda: engine.llm.stats().running == 1)
    await first.aclose()
    with pytest.raises(EngineDead, match="closed before"):
        await task
    await until(lambda: engine.llm.stats().running == 0)
    assert (await first.generate("hello")).text == "hello"  # it connects again


async def test_the_engines_end_is_seen_at_once(engine: EngineServer, first: LLM) -> None:
    task = asyncio.create_task(first.generate("hello", **ENDLESS))
    await until(lambda: engine.llm.stats().running == 1)
    for connection in tuple(engine.users):
        connection.cut()
    with pytest.raises(EngineDead, match="process has ended"):
        await task
    assert first.failure == "its process has ended"
    with pytest.raises(EngineDead):
        await first.generate("hello")


async def test_an_engine_that_dies_tells_why(spec: LLMSpec, weights: Path, address: Path) -> None:
    import attrs

    mortal = attrs.evolve(spec, engine_args={"die_after": 3})
    server = EngineServer(LLM.from_spec(mortal, weights), address)
    await server.listen()
    await server.start()
    async with user_of(mortal, weights, address) as llm:
        with pytest.raises(EngineDead, match="told to die"):
            await llm.generate("hello", **ENDLESS)
        await until(lambda: llm.failure is not None)
        assert "told to die" in str(llm.failure)
        assert server.dead is not None
        assert "told to die" in await server.dead
    await server.close()


async def test_an_engine_that_cannot_start_tells_why(
    spec: LLMSpec, weights: Path, address: Path, tmp_path: Path
) -> None:
    import attrs

    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = attrs.evolve(spec, model_id=str(empty))
    server = EngineServer(LLM.from_spec(wrong), address)
    await server.listen()
    waiting = asyncio.create_task(user_of(wrong, weights, address).start())
    await until(lambda: server.users)
    with pytest.raises(WeightsError):
        await server.start()
    with pytest.raises(WeightsError):
        await waiting
    await server.close()


class Listener:
    """Stands for a connected user; keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def send(self, frame: Any) -> None:
        self.heard.append(frame)

    def hang_up(self) -> None: ...


@pytest.mark.parametrize("early", [True, False])
async def test_who_is_greeted_knows_the_adapters(
    spec: LLMSpec, weights: Path, address: Path, tmp_path: Path, early: bool
) -> None:
    """Else it would mount those of the spec once more, which is a conflict."""
    import attrs

    adapted = attrs.evolve(spec, adapters=[f"{write_echo_adapter(tmp_path / 'pirate')}:pirate"])
    server, listener = EngineServer(LLM.from_spec(adapted, weights), address), Listener()
    await server.listen()
    if early:
        server.join(listener)  # type: ignore[arg-type]  # all that the server uses of one
    await server.start()
    if not early:
        server.join(listener)  # type: ignore[arg-type]  # all that the server uses of one
    *before, hello = listener.heard[
        : 1 + next(at for at, x in enumerate(listener.heard) if isinstance(x, frames.Hello))
    ]
    assert hello.trouble is None
    assert [tuple(status.adapters) for status in before][-1:] == [("pirate",)]
    await server.close()


async def test_adapters_are_everybodys(first: LLM, second: LLM, tmp_path: Path) -> None:
    adapter = write_echo_adapter(tmp_path / "pirate")
    await first.mount_adapter("pirate", adapter)
    assert first.adapters == ("pirate",)
    await until(lambda: second.adapters == ("pirate",))
    assert (await second.generate("hello", adapter_name="pirate")).text == "hello"
    with pytest.raises(Conflict):
        await second.mount_adapter("pirate", adapter)
    task = asyncio.create_task(first.generate("hello", adapter_name="pirate", **ENDLESS))
    await until(lambda: first.stats().running == 1)
    with pytest.raises(Conflict):  # in use by the other
        await second.unmount_adapter("pirate", wait=False)
    task.cancel()
    await second.unmount_adapter("pirate")
    await until(lambda: first.adapters == ())
    with pytest.raises(AdapterNotFound):
        await first.generate("hello", adapter_name="pirate")


async def test_a_user_that_does_not_read_gets_its_deltas_joined(
    engine: EngineServer, first: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "MANY", 8)
    stream = first.generate_iterator("hello", max_tokens=300, ignore_eos=True)
    await anext(stream)
    (connection,) = engine.users
    connection.pause_writing()  # what asyncio does when the socket's buffer is full
    await until(lambda: engine.llm.stats().running == 0)
    assert len(connection._deltas) < 20
    connection.resume_writing()
    tokens = 1 + sum([len(piece.outputs[0].token_ids) async for piece in stream])
    assert tokens == 300


async def test_a_user_that_never_reads_is_dropped(
    engine: EngineServer, first: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "MANY", 8)
    monkeypatch.setattr(user, "FARTHEST_BEHIND", 50)
    (connection,) = engine.users
    connection.pause_writing()
    with pytest.raises(EngineDead):
        await first.generate("hello", **ENDLESS)
    await until(lambda: engine.llm.stats().running == 0)


async def test_what_is_no_frame_ends_the_connection_and_nothing_else(
    first: LLM, address: Path
) -> None:
    for garbage in (
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02hi",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(frames.pack(frames.Done(1))),
    ):
        reader, writer = await asyncio.open_unix_connection(str(address))
        writer.write(garbage)
        if garbage.startswith(b"GET"):
            writer.write_eof()  # its length is a large one: there is nothing to see before that
        async with asyncio.timeout(5):
            while await reader.read(4096):  # the greeting, then the end
                pass
        writer.close()
    assert (await first.generate("hello")).text == "hello"


async def test_workers_know_each_other_and_add_up_their_reports(
    engine: EngineServer, first: LLM, weights: Path
) -> None:
    own = Peers([first], 2, lambda: b"one")
    await own.join()
    assert not own.complete
    assert not own.ready
    assert await own.reports() == []
    async with user_of(engine.llm.spec, weights, engine.address) as other:
        peer = Peers([other], 2, lambda: b"two")
        await peer.join()
        await until(lambda: own.complete and peer.complete)
        assert own.ready
        assert await own.reports() == [b"two"]
        assert await peer.reports() == [b"one"]
    await until(lambda: not own.complete)
    assert own.ready  # another worker's end is no reason to send requests elsewhere


async def test_a_worker_that_does_not_report_fails_the_sum(
    engine: EngineServer, first: LLM, second: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "REPORT_SECONDS", 0.1)
    # a hung process
    second.backend._link._handlers[frames.Asked] = lambda frame: None  # type: ignore[attr-defined]
    with pytest.raises(Overloaded, match="1 workers"):
        await Peers([first], 2, bytes).reports()


async def test_the_path_of_an_engine_that_was_killed_is_taken_over(
    spec: LLMSpec, weights: Path, address: Path
) -> None:
    address.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(address))
    server = EngineServer(LLM.from_spec(spec, weights), address)
    await server.listen()
    await server.start()
    async with user_of(spec, weights, address) as llm:
        assert (await llm.generate("hello")).text == "hello"
    await server.close()
    # a coroutine may not call pathlib's
    assert address.name not in os.listdir(address.parent)  # noqa: PTH208
