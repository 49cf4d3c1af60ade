"""A load generator of several processes over raw sockets: streamed completions, closed loop, one
connection a stream.

One Python client with an HTTP library tops out near 20,000 tokens/s; this one only looks for the
marks it needs in what it receives, so that eight of it keep up with any server here. `run` starts
the processes and sums up.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
_USAGE = re.compile(rb'"completion_tokens":\s*(\d+)')
_MARK = b"data: "
_LEAD = 1.5  # seconds for all processes to connect before the first request leaves


@attrs.frozen
class Load:
    """What is asked: `streams` at once, each `rounds` times, `prompt` random token ids in and
    `answer` tokens out.
    """

    port: int
    streams: int
    rounds: int
    prompt: int
    answer: int
    vocab: int
    path: str = "/v1/completions"
    model: str = "bench"
    processes: int = 8
    seed: int = 0
    timeout: float = 300.0


@attrs.define
class Answer:
    """One request as the client saw it; times in seconds of the machine's monotonic clock."""

    sent: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    events: int = 0
    error: str = ""


@attrs.frozen
class Figures:
    """One level of load, summed up."""

    streams: int
    requests: int
    errors: int
    tokens: int
    seconds: float
    ttft_p50: float  # seconds
    ttft_p99: float
    inter_token_p50: float
    tokens_per_event: float
    error: str = ""  # the first one
    cpu_per_token: float = 0.0  # seconds of the process that answers, its children left out

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


def prompts(load: Load, streams: Sequence[int]) -> dict[int, list[list[int]]]:
    """Random token ids, the same for every system that is measured; no two alike, so no cache
    helps.
    """
    low, high = min(300, load.vocab // 4), load.vocab - 8
    return {
        stream: [
            random.Random(f"{load.seed}-{load.streams}-{stream}-{at}").choices(
                range(low, high), k=load.prompt
            )
            for at in range(load.rounds)
        ]
        for stream in streams
    }


def body(load: Load, prompt: list[int]) -> bytes:
    """One request, head and all."""
    fields = {
        "model": load.model,
        "prompt": prompt,
        "max_tokens": load.answer,
        "ignore_eos": True,
        "temperature": 0,
    }
    text = json.dumps(
        {**fields, "stream": True, "stream_options": {"include_usage": True}}
    ).encode()
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type:"
        f" application/json\r\nContent-Length: {len(text)}"
    )
    return head.encode() + b"\r\n\r\n" + text


def summed(load: Load, answers: Sequence[Answer]) -> Figures:
    """The figures of one level."""
    good = [answer for answer in answers if not answer.error]
    bad = [answer.error for answer in answers if answer.error]
    firsts = sorted(answer.first - answer.sent for answer in good) or [0.0]
    gaps = sorted((a.last - a.first) / (a.tokens - 1) for a in good if a.tokens > 1) or [0.0]
    begun, ended = (min(a.sent for a in good), max(a.last for a in good)) if good else (0.0, 0.0)
    return Figures(
        streams=load.streams,
        requests=len(answers),
        errors=len(bad),
        tokens=sum(answer.tokens for answer in good),
        seconds=ended - begun,
        ttft_p50=firsts[len(firsts) // 2],
        ttft_p99=firsts[min(len(firsts) * 99 // 100, len(firsts) - 1)],
        inter_token_p50=gaps[len(gaps) // 2],
        tokens_per_event=sum(a.tokens for a in good) / max(sum(a.events for a in good), 1),
        error=bad[0] if bad else "",
    )


def run(load: Load) -> Figures:
    """Run `load` against the server on its port."""
    shares = [
        list(range(at, load.streams, load.processes))
        for at in range(min(load.processes, load.streams))
    ]
    start = time.monotonic() + _LEAD
    command = [sys.executable, "-m", "benchmarks.loadgen"]
    children = []
    for share in shares:
        order = json.dumps({"load": attrs.asdict(load), "streams": share, "start": start}).encode()
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append((child, order))
    for child, order in children:
        assert child.stdin is not None
        child.stdin.write(order)
        child.stdin.close()
        child.stdin = None
    answers = []
    for child, _ in children:
        text, _ = child.communicate(timeout=load.timeout + 60)
        answers += [Answer(**item) for item in json.loads(text or b"[]")]
    return summed(load, answers)


class Stream:
    """One connection that sends its requests one after the other."""

    def __init__(self, load: Load, requests: list[list[int]]) -> None:
        self._load = load
        self._requests = [body(load, prompt) for prompt in requests]
        self.answers: list[Answer] = []
        self._tail = b""
        self.socket = self._connected()

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._load.port), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self) -> bool:
        """Send the next request; False when there is none left."""
        if len(self.answers) == len(self._requests):
            return False
        request = self._requests[len(self.answers)]
        self._tail = b""
        self.answers.append(Answer(time.monotonic()))
        self.socket.setblocking(True)
        self.socket.sendall(request)
        self.socket.setblocking(False)
        return True

    def receive(self) -> bool:
        """Take what came; whether the answer is complete."""
        answer = self.answers[-1]
        data = self.socket.recv(1 << 18)
        now = time.monotonic()
        if not data:
            answer.error = answer.error or "the connection was closed"
            return True
        if not answer.last and not (self._tail + data).startswith(b"HTTP/1.1 200"):
            answer.error = (self._tail + data).partition(b"\r\n")[0].decode("latin-1")
        answer.last = now
        seen = self._tail[-len(_MARK) + 1 :] + data
        events = seen.count(_MARK)
        answer.events += events
        if events and not answer.first:
            answer.first = now
        self._tail = (self._tail + data)[-1024:]
        return bool(answer.error) or (
            b"data: [DONE]" in self._tail and self._tail.endswith(b"0\r\n\r\n")
        )

    def finish(self) -> None:
        """Read the usage off the end of the answer."""
        answer = self.answers[-1]
        found = _USAGE.findall(self._tail)
        answer.tokens = int(found[-1]) if found else 0
        answer.events -= 2  # the usage and [DONE]
        if not answer.error and answer.tokens != self._load.answer:
            answer.error = f"{answer.tokens} tokens instead of {self._load.answer}"
        if answer.error:
            self.socket.close()
            self.socket = self._connected()


def drive(load: Load, streams: list[int], start: float) -> list[Answer]:
    """What one process does: all its streams in one thread."""
    connections = [Stream(load, requests) for requests in prompts(load, streams).values()]
    selector = selectors.DefaultSelector()
    time.sleep(max(start - time.monotonic(), 0))
    for stream in connections:
        stream.send()
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    deadline = time.monotonic() + load.timeout
    live = len(connections)
    while live and time.monotonic() < deadline:
        for key, _ in selector.select(timeout=1):
            stream = key.data
            if stream.receive():
                selector.unregister(stream.socket)
                stream.finish()
                if stream.send():
                    selector.register(stream.socket, selectors.EVENT_READ, stream)
                else:
                    live -= 1
    for key in list(selector.get_map().values()):
        key.data.answers[-1].error = "no end within the time limit"
    return [answer for stream in connections for answer in stream.answers]


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    answers = drive(Load(**order["load"]), order["streams"], order["start"])
    sys.stdout.write(json.dumps([attrs.asdict(answer) for answer in answers]))


if __name__ == "__main__":
    main()
