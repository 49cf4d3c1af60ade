"""One way to run a command line in a test: its exit code, what it printed, and nothing of this
machine's settings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openllm.cli import cli
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.cli.servers import Scripted
from tests.serving import Running, serve, write_echo_model

Run = Callable[..., Result]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process's environment without openllm's variables and with stores of its own; tests may
    add to it.
    """
    for name in [name for name in os.environ if name.startswith("OPENLLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return dict(os.environ)


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """`run("start", "demo", OPENLLM_SEED="1")`."""

    def invoke(*args: str, **variables: str) -> Result:
        return CliRunner().invoke(cli, args, env=variables)

    return invoke


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("asking") / "echo-model")


@pytest.fixture(scope="module")
def chat_server(chat_model: Path) -> Iterator[Running]:
    spec = LLMSpec(model_id=str(chat_model), name="echo", backend="echo")
    with serve(
        LLM.from_spec(spec, chat_model), settings=Settings(api_key="user", admin_key="admin")
    ) as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()
    Scripted.answers.clear()
    Scripted.asked.clear()
