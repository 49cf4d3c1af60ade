"""The files of examples/clients: what each has to print, and how they are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.clients.frameworks import HOME
from tests.clients.servers import PYTHON, REPOSITORY

FOLDER = REPOSITORY / "examples" / "clients"
AT_ONCE = 2  # processes: most of what each does is importing
SECONDS = 200  # for one, on a machine that is busy

ANSWER = r"[^\n]*openllm build[^\n]*\n"
TWICE = rf"(?P<answer>{ANSWER})(?P=answer)"  # a whole answer, then the same one as it was written
MOOD = r"mood='(good|bad)'\n"
# All that is printed, by the file's name: in the environment of `make test-clients`,
CLIENTS = {
    "anthropic_messages.py": TWICE,
    "bentoml_generate.py": rf"{ANSWER}(\s*data: {{[^\n]*}}\n)+\s*data: \[DONE\]\s*",
    "curl.sh": rf'[^\n]*"id":"demo"[^\n]*\n{ANSWER}(data: {{[^\n]*}}\n\n)+data: \[DONE\]\s*',
    "openai_agents_tool.py": rf"{ANSWER}It is sunny in (Rome|Oslo)\.\n",
    "openai_chat.py": TWICE + MOOD,
    "openllm_client.py": rf"{TWICE}[^\n]+\n256 numbers\n",
    "pydantic_ai_agent.py": ANSWER + MOOD,
}
# and in that of `make test-frameworks`.
FRAMEWORKS = {
    "ai_sdk_stream.mjs": rf"{TWICE}{{ mood: '(good|bad)' }}\n",
    "dspy_predict.py": rf"{ANSWER}(good|bad)\n",
    "instructor_object.py": rf"(?P<whole>{MOOD})(mood=[^\n]*\n)+(?P=whole)",
    "langchain_chat.py": TWICE + MOOD,
    "litellm_chat.py": TWICE,
    "llama_index_chat.py": TWICE + MOOD,
    "openai_chat.mjs": TWICE,
}
# Packages that are not those of the environment: openllm's, and LlamaIndex, which takes another
# openai than the frameworks beside it.
OURS = {"bentoml_generate.py", "openllm_client.py"}
ELSEWHERE = {**dict.fromkeys(OURS, REPOSITORY), "llama_index_chat.py": HOME / "llama-index"}

Printed = dict[str, Future[str]]  # by name


@contextmanager
def running(names: Iterable[str], url: str, home: Path) -> Iterator[Printed]:
    """What each file prints that asks the server at `url`, as soon as it has; `home` is an empty
    directory for what they write.
    """
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {name: pool.submit(_run, FOLDER / name, url, home) for name in names}
    finally:
        pool.shutdown(cancel_futures=True)


def _run(path: Path, url: str, home: Path) -> str:
    environment = {
        **os.environ,
        "OPENLLM_ENDPOINT": url,
        "PYTHONPATH": str(ELSEWHERE.get(path.name, "")),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "DSPY_CACHEDIR": str(home),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks a server of its own
    }
    done = subprocess.run(
        _command(path),
        input=path.read_text() if path.suffix == ".mjs" else "",
        cwd=HOME if path.suffix == ".mjs" else home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _command(path: Path) -> list[str]:
    if path.suffix == ".sh":
        return ["sh", str(path)]
    if path.suffix == ".mjs":  # Node looks for packages beside a file, else where it is run
        return ["node", "--input-type=module", "-"]
    return [PYTHON if path.name in OURS else sys.executable, str(path)]
