"""A real uvicorn server around openllm's application, in a thread of its own on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import httpx
import openai
import uvicorn

from openllm.config.settings import Settings
from openllm.http.app import Server, create_app
from openllm.llm.llm import LLM
from tests.tiny import SMALL, write_tokenizer

if TYPE_CHECKING:
    from openllm.http.tracing.spans import Tracing

T = TypeVar("T")
LONG_WAIT = 20.0  # seconds; how long a test waits for what should come at once
START_WAIT = 120.0  # seconds; the first start in a process imports transformers


def write_echo_model(path: Path, **config: Any) -> Path:
    """What the echo engine needs of a model: a configuration and a tokenizer."""
    write_tokenizer(path)
    fields = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SMALL, **config}
    (path / "config.json").write_text(json.dumps(fields))
    return path


@attrs.frozen
class Running:
    """A server that is up."""

    url: str
    server: Server
    loop: asyncio.AbstractEventLoop

    @property
    def llm(self) -> LLM:
        return self.server.catalog.llms[0]

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=LONG_WAIT, **options)

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=LONG_WAIT
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LONG_WAIT)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is looked at on the server's loop."""

        async def poll() -> None:
            async with asyncio.timeout(LONG_WAIT):
                while not condition():  # noqa: ASYNC110  the conditions have no event
                    await asyncio.sleep(0.005)

        self.run(poll())


@contextlib.contextmanager
def serve(
    *llms: LLM,
    settings: Settings | None = None,
    lifespan: bool = True,
    send_buffer: int | None = None,
    tracing: Tracing | None = None,
    http: Any = "auto",
) -> Iterator[Running]:
    """Serve `llms`; without `lifespan` the engines are not started. `http`: uvicorn's protocol."""
    app = create_app(llms, settings or Settings(), tracing)
    listener = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sends at once on these
    if send_buffer is not None:  # bytes that the system keeps for a client that does not read
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=http,
        lifespan="on" if lifespan else "off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []
    up = threading.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        task = asyncio.create_task(server.serve([listener]))
        while not server.started and not task.done():  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        up.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert up.wait(START_WAIT)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", app, loops[0])
    finally:
        server.should_exit = True
        thread.join(LONG_WAIT)
        listener.close()
    assert not thread.is_alive()
