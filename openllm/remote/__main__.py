"""`python -m openllm.remote`: one engine, as the plan on standard input says; ends when that is
closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import attrs
import msgspec

from openllm.config.logs import log_formatter
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.config.words import VARIABLES
from openllm.errors import OpenLLMError
from openllm.llm.llm import LLM
from openllm.remote.child import EnginePlan
from openllm.remote.probe import say_up
from openllm.remote.server import EngineServer

log = logging.getLogger("openllm")

LAST_WORDS_SECONDS = 0.5  # for users to hear that the engine is dead before the connection is


def main() -> int:
    """The exit code: 0 when asked to stop, 1 when the engine could not start or has died."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=EnginePlan)
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(plan.log_format, "engine"))
    logging.getLogger().handlers = [handler]
    logging.getLogger("openllm").setLevel(plan.log_level.upper())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent says when
    import uvloop

    code: int = uvloop.run(_serve(plan))
    return code


def planned_llm(plan: EnginePlan) -> LLM:
    """The LLM of this process: what the plan says goes before the environment. Errors:
    ConfigurationError.
    """
    settings = attrs.evolve(Settings.from_env(), drain_seconds=plan.drain_seconds)
    place = Path(plan.weights_dir) if plan.weights_dir else None
    return LLM.from_spec(LLMSpec.from_json(plan.spec), place, settings=settings)


async def _serve(plan: EnginePlan) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    threading.Thread(target=_wait_orphaned, args=(loop, stop), daemon=True).start()
    server = EngineServer(planned_llm(plan), Path(plan.address))
    await server.listen()
    try:
        code = await _live(server, stop)
        if code == 0:
            server.leave_off()
            await server.wait_unused(plan.drain_seconds)
        return code
    except OpenLLMError as error:
        log.error("%s", error.said(VARIABLES))
        await asyncio.sleep(LAST_WORDS_SECONDS)
        return 1
    finally:
        await server.close()


async def _live(server: EngineServer, stop: asyncio.Event) -> int:
    """Until it is asked to stop, or the engine dies."""
    stopped = asyncio.ensure_future(stop.wait())
    starting = asyncio.ensure_future(server.start())
    await asyncio.wait((stopped, starting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return 0
    await starting
    say_up(server.address)
    dead = server.dead or asyncio.get_running_loop().create_future()
    await asyncio.wait((stopped, dead), return_when=asyncio.FIRST_COMPLETED)
    if not dead.done():
        return 0
    log.error("The engine of %s has stopped: %s.", server.llm.name, dead.result())
    await asyncio.sleep(LAST_WORDS_SECONDS)
    return 1


def _wait_orphaned(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The parent keeps our standard input open for as long as it lives."""
    while os.read(
        sys.stdin.fileno(), 4096
    ):  # not its buffer: a thread must not hold that while the interpreter ends
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    sys.exit(main())
