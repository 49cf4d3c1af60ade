"""`python -m tests.clients.writer DIRECTORY`: a server whose model writes what standard input
says.

It writes its URL to standard output, then answers each line with "ok": a script as a JSON string,
which is every answer from then on, or a list of them, one for each of the next answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.scripted import TEMPLATE, Scripted
from tests.serving import serve, write_echo_model


def main() -> None:
    scripted = Scripted(write_echo_model(Path(sys.argv[1]) / "model"), TEMPLATE)
    with serve(scripted.llm) as running:
        print(running.url, flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            scripted.backend.scripts = told if isinstance(told, list) else []
            scripted.backend.script = "" if isinstance(told, list) else told
            print("ok", flush=True)


if __name__ == "__main__":
    main()
