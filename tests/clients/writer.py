"""`python -m tests.clients.writer DIRECTORY`: a server whose model writes what standard input
says.

It writes its URL to standard output, then answers each line with "ok": a script as a JSON string,
which is every answer from then on, or a list of them, one for each of the next answers. Beside it
stands a `reranker`, which scores a pair by how many of its tokens stand in it twice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.protocols.conftest import echo_llm
from tests.scripted import TEMPLATE, Scripted
from tests.serving import serve, write_echo_model


def main() -> None:
    home = Path(sys.argv[1])
    scripted = Scripted(write_echo_model(home / "model"), TEMPLATE)
    one_label = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "good"}}
    ranking = write_echo_model(home / "reranker", **one_label)
    with serve(scripted.llm, echo_llm(ranking, name="reranker", task="classify")) as running:
        print(running.url, flush=True)
        for line in sys.stdin:
            told = json.loads(line)
            scripted.backend.scripts = told if isinstance(told, list) else []
            scripted.backend.script = "" if isinstance(told, list) else told
            print("ok", flush=True)


if __name__ == "__main__":
    main()
