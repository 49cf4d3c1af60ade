"""Build the demo Bento, serve it with `bentoml serve`, ask it a question and print the answer.

On a terminal it keeps serving until Ctrl+C, else it stops the server and exits with 0. Run by `make
demo`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx

from openllm.bento.build import build
from openllm.config.settings import Settings, process_environment
from openllm.errors import OpenLLMError
from openllm.llm.resolve import Layers, resolve_model

QUESTION = "How do I build a Bento?"
FIRST_PORT = 3000
START_SECONDS = 600  # the first import of everything on a slow disk
STOP_SECONDS = 60


def main() -> int:
    options = _options()
    try:
        result = build(
            resolve_model("demo", Layers({"backend": options.backend}), Settings.from_env())
        )
    except OpenLLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{'Built' if result.new else 'Already built:'} {result.tag}")
    port = options.port or _free_port()
    with _served(result.tag, port) as server:
        if not _wait_ready(server, port):
            print("Error: the server did not come up; its log is above.", file=sys.stderr)
            return 1
        _ask(port, result.specs[0].served_name, options.question)
        if sys.stdout.isatty():
            print(f"Serving on http://127.0.0.1:{port}, with a chat page; Ctrl+C stops it.")
            with contextlib.suppress(KeyboardInterrupt):
                return server.wait()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help=f"default: {FIRST_PORT}, or a free one where that is taken",
    )
    parser.add_argument("--backend", default="pytorch")
    return parser.parse_args()


def _free_port() -> int:
    for port in (FIRST_PORT, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])
    raise OSError("no free port")


@contextlib.contextmanager
def _served(tag: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`bentoml serve TAG`, stopped cleanly afterwards."""
    print(f"$ bentoml serve {tag} --host 127.0.0.1 --port {port}")
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        tag,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command, env={"BENTOML_DO_NOT_TRACK": "True", **process_environment()}
    )
    try:
        yield server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                os.waitpid(server.pid, 0)


def _wait_ready(server: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return True
        time.sleep(0.2)
    return False


def _ask(port: int, model: str, question: str) -> None:
    """Print the question and, as it comes, the answer."""
    print(f"\n> {question}\n")
    body = {"model": model, "messages": [{"role": "user", "content": question}], "stream": True}
    with httpx.stream(
        "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=None
    ) as answer:
        if answer.status_code != 200:
            raise SystemExit(f"Error: {answer.read().decode()}")
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)
    print("\n")


if __name__ == "__main__":
    sys.exit(main())
