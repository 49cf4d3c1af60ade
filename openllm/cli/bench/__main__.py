"""`python -m openllm.cli.bench`: one process of the load generator; its share of the requests comes
on standard input, what came of it goes to standard output.
"""

from __future__ import annotations

import gc
import signal
import sys
import time

import msgspec
import uvloop

from openllm.cli.bench.drive import Driven, Driver, Share
from openllm.cli.bench.processes import READY


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this process
    size = int(sys.stdin.buffer.readline())
    share = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Share)
    gc.freeze()
    gc.disable()  # a collection would count as the server's time
    uvloop.run(_drive(share))


async def _drive(share: Share) -> None:
    driver = Driver(share)
    await driver.connect()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    start = float(sys.stdin.buffer.readline())  # nothing else runs here yet
    used = time.process_time()
    await driver.run(start)
    busy = (time.process_time() - used) / max(time.monotonic() - start, 1e-9)
    sys.stdout.buffer.write(msgspec.msgpack.encode(Driven(driver.exchanged, busy)))


if __name__ == "__main__":
    main()
