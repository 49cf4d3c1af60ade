"""`python -m tests.clients.writer DIRECTORY`: a server whose model writes what standard input
says.

It writes its URL to standard output, then answers each line, a script as a JSON string, with "ok".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.scripted import Scripted
from tests.serving import serve, write_echo_model

# Shows tools, their calls and results, and opens no thought.
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{% endfor %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)


def main() -> None:
    scripted = Scripted(write_echo_model(Path(sys.argv[1]) / "model"), TEMPLATE)
    with serve(scripted.llm) as running:
        print(running.url, flush=True)
        for line in sys.stdin:
            scripted.backend.script = json.loads(line)
            print("ok", flush=True)


if __name__ == "__main__":
    main()
