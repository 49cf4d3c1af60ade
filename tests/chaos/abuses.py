"""What is done to the server: each function does it once, in some seconds, and says what came of
it; an AssertionError is a promise that was not kept.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory

import httpx

from openllm.config.settings import process_environment
from tests.chaos.fleet import DISK_BYTES, Fleet
from tests.chaos.mutations import attack

Said = dict[str, object]
Abuse = Callable[[Fleet, random.Random], Awaitable[Said]]

COMPLETIONS = "/v1/completions"
LONG = {"prompt": "hello world " * 8, "max_tokens": 300, "ignore_eos": True, "stream": True}
ADMIN = {"authorization": "Bearer admin"}
# Each small and dear: a loop of ambiguous rules, nesting, counted repetition, a language of itself.
GRAMMARS: tuple[dict[str, object], ...] = (
    {
        "grammar": "root ::= "
        '"a" ('
        + "|".join(f"x{i}" for i in range(150))
        + ")*\n"
        + "\n".join(f"x{i} ::= [a-zA-Z ]+" for i in range(150))
    },
    {"regex": "((((a{1,99}){1,99}){1,9})|b)*c"},
    {"regex": "(.*a){24}"},
    {"grammar": "root ::= b\nb ::= root b | root"},
    {"json": {"$defs": {"n": {"anyOf": [{"$ref": "#/$defs/n"}] * 40}}, "$ref": "#/$defs/n"}},
    {"choice": ["a" * 50 + str(i) for i in range(2000)]},
)


async def storm(fleet: Fleet, random_: random.Random) -> Said:
    """Two hundred clients, 32 at a time, that leave at any moment."""
    found: Counter[int] = Counter()
    turns = asyncio.Semaphore(32)

    async def client() -> None:
        async with turns, httpx.AsyncClient(timeout=60) as asking:
            stay = random_.choice((0.0, 0.01, 0.1, 0.5)) * random_.random()
            stream = random_.random() < 0.7
            try:
                async with asyncio.timeout(stay):
                    body = LONG | {"stream": stream, "n": random_.choice((1, 1, 4))}
                    async with asking.stream("POST", fleet.url + COMPLETIONS, json=body) as answer:
                        found[answer.status_code] += 1
                        await answer.aread()
            except (TimeoutError, httpx.TransportError):
                found[0] += 1

    await asyncio.gather(*(client() for _ in range(200)))
    assert set(found) <= {0, 200, 503}, found
    await _idle(fleet)
    return {"left": found[0], "refused": found[503]}


async def slow_readers(fleet: Fleet, random_: random.Random) -> Said:
    """Eight clients that ask for long streams and read nothing for some seconds, then leave."""
    port = fleet.server.port
    held = [await asyncio.open_connection("127.0.0.1", port, limit=64) for _ in range(8)]
    body = json.dumps(LONG | {"n": 4}).encode()
    for _, writer in held:
        writer.write(_head(COMPLETIONS, len(body)) + body)
    await asyncio.sleep(3)
    for _, writer in held:
        writer.transport.abort()
    await _idle(fleet)
    return {"connections": len(held)}


async def slow_senders(fleet: Fleet, random_: random.Random) -> Said:
    """Forty clients that send a byte at a time: heads without an end, bodies without one."""
    port = fleet.server.port
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    for at, (_, writer) in enumerate(held):
        writer.write(_head(COMPLETIONS, 1000)[: 30 if at % 2 else None])
    for _ in range(15):
        for _, writer in held:
            if not writer.is_closing():  # the server has had enough
                writer.write(b"a")
        await asyncio.sleep(0.2)
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(fleet.url + COMPLETIONS, json={"prompt": "x", "max_tokens": 1})
    assert answer.status_code == 200, answer.text
    closed = sum(reader.at_eof() or writer.is_closing() for reader, writer in held)
    for _, writer in held:
        writer.transport.abort()
    return {"connections": len(held), "closed_by_the_server": closed}


async def bad_bytes(fleet: Fleet, random_: random.Random) -> Said:
    """Requests with bytes changed."""
    found = await attack(fleet.server.port, 200, random_.randrange(2**32))
    return dict(sorted(found.items()))


async def grammars(fleet: Fleet, random_: random.Random) -> Said:
    """Small structures that are dear to compile or to follow, all at once; half their clients
    leave.
    """
    found: Counter[str] = Counter()

    async def client(structure: dict[str, object], stay: float) -> None:
        body = {"prompt": "x", "max_tokens": 8, "structured_outputs": structure}
        try:
            async with httpx.AsyncClient(timeout=stay) as asking:
                answer = await asking.post(fleet.url + COMPLETIONS, json=body)
        except httpx.TransportError:
            found["left"] += 1
            return
        found[str(answer.status_code)] += 1
        assert answer.status_code < 500 or answer.status_code == 503, answer.text

    await asyncio.gather(*(client(one, 1 if at % 2 else 40) for at, one in enumerate(GRAMMARS)))
    return dict(sorted(found.items()))


async def kill_worker(fleet: Fleet, random_: random.Random) -> Said:
    """An API worker is killed; whoever asks meanwhile gets an answer, and another one comes."""
    victim = random_.choice(fleet.workers())
    victim.kill()
    found: Counter[int] = Counter()
    slowest = 0.0
    begun = time.monotonic()
    async with httpx.AsyncClient(timeout=30) as client:
        while not await asyncio.to_thread(fleet.is_whole):
            before = time.monotonic()
            try:
                found[(await client.get(f"{fleet.url}/v1/models")).status_code] += 1
            except httpx.TransportError:
                found[0] += 1  # a connection to the one that was killed
            slowest = max(slowest, time.monotonic() - before)
            await asyncio.sleep(0.1)
            assert time.monotonic() - begun < 60, fleet.server.text()[-2000:]
    assert set(found) <= {0, 200, 503}, found
    assert found[0] <= 2, found
    return {
        "another_process_s": round(time.monotonic() - begun, 1),
        "slowest_answer_s": round(slowest, 2),
    }


async def full_disk(fleet: Fleet, random_: random.Random) -> Said:
    """Files until the disk is full; what does not fit is refused, and what is deleted makes
    room.
    """
    if not fleet.small_disk:
        return {"skipped": "this user may mount no disk"}
    line = {"custom_id": "a", "method": "POST", "url": COMPLETIONS, "body": {"prompt": "x"}}
    data = (json.dumps(line) + "\n").encode().ljust(DISK_BYTES // 4)
    kept, statuses = [], Counter[int]()
    async with httpx.AsyncClient(timeout=30, headers=ADMIN, base_url=fleet.url) as client:
        for _ in range(8):
            files = {"file": ("a.jsonl", data)}
            answer = await client.post("/v1/files", files=files, data={"purpose": "batch"})
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                kept.append(answer.json()["id"])
            else:
                assert answer.status_code == 503, answer.text
                assert "full" in answer.json()["error"]["message"]
        plain = await client.post(COMPLETIONS, json={"prompt": "x", "max_tokens": 1})
        assert plain.status_code == 200, plain.text
        for name in kept:
            assert (await client.delete(f"/v1/files/{name}")).status_code == 200
    assert kept, statuses
    assert sum(statuses.values()) > len(kept), statuses
    return {str(status): count for status, count in statuses.items()}


async def cut_hub(fleet: Fleet, random_: random.Random) -> Said:
    """Another server starts with a model of a Hub that drops every connection: one line, no
    trace.
    """

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        writer.transport.abort()

    async with await asyncio.start_server(drop, "127.0.0.1", 0) as hub:
        port = hub.sockets[0].getsockname()[1]
        with TemporaryDirectory() as home:
            environment = process_environment() | {
                "HF_ENDPOINT": f"http://127.0.0.1:{port}",
                "HF_HOME": home,
                "BENTOML_HOME": home,
            }
            command = [sys.executable, "-m", "openllm", "start", "org/model", "--port", "0"]
            done = await asyncio.to_thread(
                subprocess.run,
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
    assert done.returncode not in (0, -signal.SIGKILL), done
    assert "Traceback" not in done.stderr, done.stderr
    assert "Error: " in done.stderr, done.stderr
    return {"exit_code": done.returncode}


# The kill of a worker comes so seldom that five in a minute, which end the server, cannot be.
ABUSES: tuple[Abuse, ...] = (
    storm,
    slow_readers,
    slow_senders,
    bad_bytes,
    grammars,
    full_disk,
    kill_worker,
)


def _head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\n\r\n".encode()


async def _idle(fleet: Fleet) -> None:
    """Return once the engine does nothing for those that have left; the plain client has pauses."""
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(fleet.idle):  # noqa: ASYNC110  an engine has no event
            await asyncio.sleep(0.05)


def trace_in(log: str) -> str:
    """The first traceback of a log; "" where there is none."""
    found = re.search(r"Traceback \(most recent call last\):.*?(?=\n\d\d:\d\d|\Z)", log, re.DOTALL)
    return found[0] if found else ""
