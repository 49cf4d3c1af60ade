"""The load generator's processes: started together, given their shares, and summed up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from openllm.cli.bench.drive import Driven, Share
from openllm.cli.bench.load import Level, LoadRequest, ServerUnderLoad, shares
from openllm.errors import ServeError

READY = b"ready\n"
STREAMS_EACH = 64  # streams that one process is given where nothing else is said
Child = tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]  # and what it reads and writes
_LEAD = 0.05  # seconds for the word to start to reach every process


def share_out(
    tested: ServerUnderLoad,
    level: Level,
    asked: Sequence[LoadRequest],
    *,
    seed: int,
    processes: int | None,
    patience: float,
) -> list[Share]:
    """The shares of a level: one for every process, of at least one request and one stream."""
    most = min(level.requests, level.streams or level.requests)
    count = min(processes or -(-most // STREAMS_EACH), most)
    host, port, secure = tested.address
    requests = shares([tested.request(each) for each in asked], count)
    arrivals = level.arrivals(seed)
    times = shares(arrivals, count) if arrivals is not None else [None] * count
    streams = shares(range(level.streams), count) if level.streams is not None else None
    return [
        Share(
            host,
            port,
            secure,
            requests[at],
            len(streams[at]) if streams is not None else None,
            times[at],
            patience,
        )
        for at in range(count)
    ]


def drive(work: Sequence[Share]) -> list[Driven]:
    """Let a process do each share, all from the same moment on. Errors: ServeError."""
    with _children(len(work)) as children:
        for child, share in zip(children, work, strict=True):
            text = msgspec.msgpack.encode(share)
            _tell(child, b"%d\n%b" % (len(text), text))
        for process, _, stdout in children:
            if stdout.readline() != READY:
                raise _broken(process)
        start = time.monotonic() + _LEAD
        for child in children:
            _tell(child, b"%r\n" % start)
        return [_result(process, stdout) for process, _, stdout in children]


def _tell(child: Child, text: bytes) -> None:
    process, stdin, _ = child
    try:
        stdin.write(text)
        stdin.flush()
    except OSError:
        raise _broken(process) from None


def _result(child: subprocess.Popen[bytes], stdout: IO[bytes]) -> Driven:
    text = stdout.read()
    if child.wait():
        raise _broken(child)
    return msgspec.msgpack.decode(text, type=Driven)


def _broken(child: subprocess.Popen[bytes]) -> ServeError:
    return ServeError(f"A process of the load generator has ended with {child.wait()}.")


@contextmanager
def _children(count: int) -> Iterator[list[Child]]:
    """So many processes, gone when the block is."""
    command = [sys.executable, "-m", "openllm.cli.bench"]
    children: list[Child] = []
    try:
        for _ in range(count):
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if child.stdin is not None and child.stdout is not None:  # they are pipes
                children.append((child, child.stdin, child.stdout))
        yield children
    finally:
        for child, stdin, stdout in children:
            child.kill()
            with suppress(OSError):  # what was never written to one that is gone
                stdin.close()
            stdout.close()
            child.wait()
