"""Requests with bytes changed at random: `python -m tests.chaos.mutations --count 100000`.

Seeds are requests of every wire format; each mutant is one of them with bits turned, bytes put in,
taken out, doubled, or pieces of two seeds joined, sent as it is over a socket. Whatever it is, the
server answers with no status of 500 and above, or closes the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve, write_echo_model

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "h\u00e9llo"}], "max_tokens": 2}
BODIES: dict[str, object] = {
    "/v1/chat/completions": CHAT
    | {
        "stream": True,
        "stop": ["x"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    },
    "/v1/completions": {"prompt": [1, 2, 3], "max_tokens": 2, "logprobs": 1, "echo": True},
    "/v1/responses": {"input": "hello", "max_output_tokens": 2, "store": False},
    "/v1/messages": CHAT,
    "/api/chat": CHAT | {"stream": False, "options": {"num_predict": 2}},
    "/api/generate": {"model": "echo", "prompt": "hello", "options": {"num_predict": 2}},
    "/v2/chat": CHAT,
    "/generate": {"inputs": "hello", "parameters": {"max_new_tokens": 2}},
    "/v1/generate": {"prompt": "hello", "max_tokens": 2, "seed": 3},
    "/v1/embeddings": {"model": "echo", "input": ["a", "b"]},
    "/tokenize": {"prompt": "hello"},
    "/v1/adapters": {"name": "a", "source": "b"},
    "/v1/batches": {"input_file_id": "file-1", "endpoint": "/v1/completions"},
}
PIECES = (b"\0", b"\r\n", b"\r\n\r\n", b"{", b"[", b'"', b"\\ud83d", b"-1", b"1e999", b"null")
PATIENCE = 1.0  # seconds for a server that may wait for more
SECONDS = 30.0  # for one that has all that comes
AT_ONCE = 32


def seeds() -> list[bytes]:
    """One request of each route."""
    return [raw(path, json.dumps(body).encode()) for path, body in BODIES.items()]


def raw(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer admin\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


def mutants(random_: random.Random) -> Iterator[bytes]:
    """Without end. In two of three the head stays as it is, and its length fits the body."""
    every = seeds()
    while True:
        seed = random_.choice(every)
        if not random_.randrange(3):
            yield changed(seed, random_, every)
            continue
        head, _, body = seed.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        yield raw(path, changed(body, random_, every))


def changed(data: bytes, random_: random.Random, others: list[bytes]) -> bytes:
    """One to four changes."""
    found = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at, end = sorted(random_.randrange(len(found) + 1) for _ in range(2))
        match random_.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << random_.randrange(8)
            case 1:
                found[at:at] = random_.choice(PIECES)
            case 2:
                del found[at : min(end, at + 16)]
            case 3:
                found[at:at] = found[at:end] * random_.randint(1, 3)
            case 4:
                other = random_.choice(others)
                found[at:end] = other[random_.randrange(len(other)) :][:64]
            case _:
                found[at:at] = random_.randbytes(random_.randint(1, 8))
    return bytes(found)


async def answer_to(port: int, data: bytes) -> str:
    """The status; "closed" where the server has only closed the connection. To a server that waits
    for more, for a length too large or for another request, the client says that there is none.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        asking = asyncio.ensure_future(reader.readline())
        await asyncio.wait([asking], timeout=PATIENCE)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            line = await asking
            await reader.read()
    except TimeoutError:
        raise
    except OSError:  # it was closed while we were writing
        return "closed"
    finally:
        writer.close()
    return line.split(b" ")[1].decode() if line.startswith(b"HTTP/") else "closed"


async def attack(port: int, count: int, seed: int) -> Counter[str]:
    """How `count` mutants were answered. Errors: AssertionError with the first that was answered
    with a status of 500 or above, but for 503 (full) and 529.
    """
    source = mutants(random.Random(seed))
    found: Counter[str] = Counter()
    left = iter(range(count))

    async def send() -> None:
        for _ in left:
            data = next(source)
            status = await answer_to(port, data)
            found[status] += 1
            assert not status.startswith("5") or status in ("503", "529"), (status, data)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(send())
    return found


def attacked(running: Running, count: int, seed: int) -> Counter[str]:
    """The same on a server, which afterwards answers as before, and is idle."""
    port = int(running.url.rpartition(":")[2])
    found = asyncio.run(attack(port, count, seed))
    running.wait_until(lambda: running.llm.stats().running == 0)
    with running.client() as client:
        body = {"prompt": "hello", "max_tokens": 2}
        assert client.post("/v1/completions", json=body).status_code == 200
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    with TemporaryDirectory() as folder:
        llm = echo_llm(write_echo_model(Path(folder) / "echo"))
        with serve(llm, settings=Settings(admin_key="admin")) as running:
            begun = time.monotonic()
            found = attacked(running, words.count, words.seed)
            seconds = time.monotonic() - begun
    print(f"{words.count} mutants in {seconds:.0f} s:", dict(sorted(found.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
