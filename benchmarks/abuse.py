"""How long others wait beside bodies that mean no good, and what each of those costs.

    python -m benchmarks.abuse [--rounds 3] [--backend echo] [--only "1.5 M keys"]

A server of the demo model, once as one that writes and once as one that embeds, is sent bodies of
up to 30 MB, one after another. It measures by itself how late its event loop is: a callback is due
every 2 ms, and the latest one tells how long the loop was held up, by whatever it was. What other
work on the machine adds shows in the line without any body, which is measured first and last. The
CPU time is that of the server's process for one body.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.systems import answers, free_port

TICK_SECONDS = 0.002
START_SECONDS = 180.0
QUIET_SECONDS = 2.0
LATENESS = "/lateness"  # of the loop since it was last asked for, and the CPU time so far
TEXT = "a plain sentence of some words, "


def chat(**said: Any) -> bytes:
    message = {"role": "user", "content": "hi"}
    return json.dumps({"messages": [message], "max_tokens": 1, **said}).encode()


def with_lists(megabytes: int) -> bytes:
    lists = b",".join([b"[[]]"] * (megabytes * 200_000))
    return chat()[:-1] + b', "metadata": {"x": [' + lists + b"]}}"


def with_keys(count: int) -> bytes:
    return chat(metadata={f"key {at}": at for at in range(count)})


def with_parts(count: int) -> bytes:
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * count}])


def with_prompts(name: str, count: int, characters: int, **said: Any) -> bytes:
    text = (TEXT * (characters // len(TEXT) + 1))[:characters]
    return json.dumps({name: [text] * count, "max_tokens": 1, **said}).encode()


def with_ids(count: int, each: int) -> bytes:
    return json.dumps({"prompt": [[7] * each] * count, "max_tokens": 1}).encode()


def with_schema(count: int) -> bytes:
    properties = {f"p{at}": {"type": "string"} for at in range(count)}
    schema = {"name": "x", "schema": {"type": "object", "properties": properties}}
    return chat(response_format={"type": "json_schema", "json_schema": schema})


def with_tools(count: int) -> bytes:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    return chat(tools=[tool] * count)


def with_text(name: str, **said: Any) -> bytes:
    return json.dumps({name: (TEXT * 1_000_000)[:30_000_000], "max_tokens": 1, **said}).encode()


def repeated(literal: bytes, count: int) -> bytes:
    return b'{"prompt": [' + b",".join([literal] * count) + b"]}"


def embedding(**said: Any) -> bytes:
    return json.dumps({"model": "embedding", **said}).encode()


COHERE = {"input_type": "search_document", "embedding_types": ["float"]}
LONG = [(TEXT * 1000)[:30_000]] * 1024
CHAT, COMPLETE, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
# A name, where it is posted, and its body.
Body = tuple[str, str, Callable[[], bytes]]
BODIES: tuple[Body, ...] = (
    ("30 MB of nested lists", CHAT, lambda: with_lists(30)),
    ("the same, to Anthropic's", "/v1/messages", lambda: with_lists(30)),
    ("the same, to Ollama's", "/api/chat", lambda: with_lists(30)),
    ("the same, to TGI's", "/generate", lambda: with_lists(30)),
    ("the same, to ours", "/v1/generate", lambda: with_lists(30)),
    ("the same, to Responses", "/v1/responses", lambda: with_lists(30)),
    ("1.5 M keys", CHAT, lambda: with_keys(1_500_000)),
    ("as many keys as pass", CHAT, lambda: with_keys(57_000)),
    ("500,000 parts", CHAT, lambda: with_parts(500_000)),
    ("as many parts as pass", CHAT, lambda: with_parts(24_000)),
    ("500,000 fractions", COMPLETE, lambda: repeated(b"1.2345678901234567e-300", 500_000)),
    ("as many fractions as pass", COMPLETE, lambda: repeated(b"1.2345678901234567e-300", 46_000)),
    ("7,000 x 4,000 digits", COMPLETE, lambda: repeated(b"9" * 4000, 7000)),
    ("5 M escapes", COMPLETE, lambda: repeated(b'"' + rb"\u00e4" * 5_000_000 + b'"', 1)),
    ("as many escapes as pass", COMPLETE, lambda: repeated(b'"' + rb"\u00e4" * 10**6 + b'"', 1)),
    ("a schema of 20,000 fields", CHAT, lambda: with_schema(20_000)),
    ("15,000 tools", CHAT, lambda: with_tools(15_000)),
    ("1,024 x 15,000 ids", COMPLETE, lambda: with_ids(1024, 15_000)),
    ("as many ids as pass", COMPLETE, lambda: with_ids(1000, 800)),
    ("1,024 x 2,000 characters", COMPLETE, lambda: with_prompts("prompt", 1024, 2000)),
    ("1,024 prompts, n 128", COMPLETE, lambda: with_prompts("prompt", 1024, 32, n=128)),
    ("one text of 30 MB", COMPLETE, lambda: with_text("prompt")),
    ("the same, cut", COMPLETE, lambda: with_text("prompt", truncate_prompt_tokens=8)),
    ("the same, to Responses", "/v1/responses", lambda: with_text("input")),
    ("embeddings, 1,024 x 30 KB", EMBED, lambda: embedding(input=LONG)),
    ("the same, cut", "/v2/embed", lambda: embedding(texts=LONG, truncate="END", **COHERE)),
    ("embeddings, 1,024 x 200", EMBED, lambda: embedding(input=[TEXT * 6] * 1024)),
    ("embeddings, 1,024 x 200 ids", EMBED, lambda: embedding(input=[[7] * 200] * 1024)),
)


class Lateness:
    """An application that also tells how late its event loop was."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._worst = 0.0
        self._due = 0.0

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._worst = max(self._worst, loop.time() - self._due)
        self._due = loop.time() + TICK_SECONDS
        loop.call_at(self._due, self._tick)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._due:
            self._due = asyncio.get_running_loop().time()
            self._tick()
        if scope.get("path") != LATENESS:
            await self._app(scope, receive, send)
            return
        told = json.dumps({"late": self._worst, "cpu": time.process_time()}).encode()
        self._worst = 0.0
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


def serve(port: int, backend: str, model: str) -> None:
    """The server's process."""
    import uvicorn

    from openllm.config.settings import Settings
    from openllm.http.app import create_app
    from openllm.llm.llm import LLM

    llms = [
        LLM(model, backend=backend),
        LLM(model, backend=backend, task="embed", name="embedding"),
    ]
    app = Lateness(create_app(llms[: 1 if backend == "vllm" else 2], Settings(any_model=True)))
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


@contextmanager
def server(backend: str, model: str) -> Iterator[int]:
    """Port of a server."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.abuse", "--serve", str(port)]
    with subprocess.Popen([*command, "--backend", backend, "--model", model]) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(port, "/readyz"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("The server does not start.")
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()


def told(port: int) -> tuple[float, float]:
    """The worst lateness since the last call, and the CPU time so far, both in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", LATENESS)
    found = json.load(connection.getresponse())
    connection.close()
    return found["late"], found["cpu"]


def post(port: int, path: str, body: bytes) -> int:
    """The status of the answer; 0 where the connection broke before it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


def quiet(port: int) -> None:
    """The line without any body."""
    told(port)
    time.sleep(QUIET_SECONDS)
    print(f"{'nothing':28} the loop is late by {told(port)[0] * 1e3:4.0f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="echo")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--only", default="", help="bodies whose name has this in it")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        serve(args.serve, args.backend, args.model)
        return
    print(f"{os.cpu_count()} cores")
    with server(args.backend, args.model) as port:
        quiet(port)
        for name, path, make in BODIES:
            if args.only not in name:
                continue
            body = make()
            for _ in range(args.rounds):
                _, before = told(port)
                began = time.perf_counter()
                status = post(port, path, body)
                took = time.perf_counter() - began
                late, cpu = told(port)
                print(
                    f"{name:28} {status} after {took:6.2f} s, CPU {(cpu - before) * 1e3:5.0f} ms,"
                    f" the loop is late by {late * 1e3:4.0f} ms",
                    flush=True,
                )
        quiet(port)


if __name__ == "__main__":
    main()
