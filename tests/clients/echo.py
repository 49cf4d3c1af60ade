"""`python -m tests.clients.echo DIRECTORY`: a server of every route, on the echo engine, until
standard input ends.

It writes its URL to standard output once the description of its routes is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model

DESCRIBED = 120.0  # seconds that the description may take on a busy machine


def main() -> None:
    home = Path(sys.argv[1])
    llm = echo_llm(write_echo_model(home / "model"))
    with serve(llm, settings=Settings(files_root=home / "files")) as running:
        httpx.get(f"{running.url}/openapi.json", timeout=DESCRIBED).raise_for_status()
        print(running.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
