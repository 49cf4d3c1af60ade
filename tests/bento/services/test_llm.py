"""A built Bento under `bentoml serve`: it answers as `openllm start` does, obeys the environment
and drains.
"""

from __future__ import annotations

import signal
import stat
import sys
import threading
import time
from pathlib import Path

import bentoml
import httpx
import psutil
import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.services.llm import LLMService
from openllm.bento.serving.project import write_project
from openllm.config.spec import LLMSpec
from tests.bento.conftest import STOP_WAIT, running
from tests.bento.models import write_echo_adapter
from tests.bento.test_serve import stream_slowly


@pytest.fixture
def bento(home: Path, echo_model: Path, tmp_path: Path) -> BuildResult:
    adapter = write_echo_adapter(tmp_path / "pirate")
    spec = LLMSpec(
        model_id=str(echo_model),
        backend="echo",
        engine_args={"delay": 0.02},
        adapters=[f"{adapter}:pirate"],
    )
    return build(spec)


def command(target: str) -> list[str]:
    return ["bentoml", "serve", target, "--host", "127.0.0.1"]


def test_it_answers_and_drains(bento: BuildResult, tmp_path: Path) -> None:
    with running(
        command(bento.tag), tmp_path / "log", OPENLLM_MAX_MODEL_LEN="199", OPENLLM_LOG_LEVEL="info"
    ) as server:
        server.wait_ready()
        supervisor, *workers = server.family()
        assert server.listening_ports() == {server.port}
        sockets = [
            Path(item.laddr)
            for item in supervisor.net_connections("unix")
            if item.laddr.endswith("endpoint")
        ]
        (folder,) = {path.parent for path in sockets}
        assert [path.name for path in sorted(set(sockets))] == ["endpoint", "pubsub_endpoint"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        client = server.openai()
        model, adapter = client.models.list()
        # a field of ours
        assert (model.id, model.max_model_len) == ("parrot", 199)  # type: ignore[attr-defined]
        # a field of ours
        assert (adapter.id, adapter.parent) == ("pirate", "parrot")  # type: ignore[attr-defined]
        assert (
            client.completions.create(model="pirate", prompt="ahoy there", max_tokens=2)
            .choices[0]
            .text
        )
        messages = [{"role": "user", "content": "hello"}]
        # plain dicts do
        whole = client.chat.completions.create(model="parrot", messages=messages, max_tokens=5)  # type: ignore[call-overload]
        parts = client.chat.completions.create(
            model="parrot", messages=messages, max_tokens=5, stream=True
        )  # type: ignore[call-overload]  # plain dicts do
        text = "".join(part.choices[0].delta.content or "" for part in parts)
        assert text == whole.choices[0].message.content
        assert text
        assert "openllm_requests_total" in httpx.get(f"{server.url}/metrics").text
        assert httpx.get(f"{server.url}/").headers["content-type"].startswith("text/html")
        described = httpx.get(f"{server.url}/docs.json", timeout=STOP_WAIT).json()
        assert "/v1/chat/completions" in described["paths"]  # not BentoML's own description
        with bentoml.SyncHTTPClient(server.url) as methods:  # by our own /schema.json
            assert methods.generate(prompt="ahoy there", max_tokens=2)["outputs"][0]["text"]

        members = [supervisor, *workers]
        begun, found = threading.Event(), list[str]()
        reader = threading.Thread(target=stream_slowly, args=(server, 80, begun, found))
        reader.start()
        assert begun.wait(STOP_WAIT)
        server.send(signal.SIGTERM)
        while (ready := httpx.get(f"{server.url}/readyz", timeout=STOP_WAIT)).status_code == 200:
            pass
        assert ready.status_code == 503
        assert reader.is_alive()
        assert httpx.post(f"{server.url}/v1/completions", json={"prompt": "x"}).status_code == 503
        reader.join(STOP_WAIT)
        assert found[-2:] == ["length", "data: [DONE]"]
        assert server.wait() == 0
        assert not [member for member in members if member.is_running()]
        assert not folder.exists()
    assert "Backend echo: it was asked for." in server.text()
    assert "Traceback" not in server.text()


def test_a_worker_does_not_outlive_its_supervisor(bento: BuildResult, tmp_path: Path) -> None:
    with running(command(bento.tag), tmp_path / "log") as server:
        server.wait_ready()
        supervisor, *workers = server.family()
        supervisor.kill()
        assert server.wait() == -signal.SIGKILL
        _, left = psutil.wait_procs(
            [one for one in workers if "_bentoml_impl" in " ".join(one.cmdline())], STOP_WAIT
        )
        assert not left


@pytest.fixture
def in_container(bento: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Bento as it lies in an image: a directory with its models inside, and an empty store
    elsewhere.
    """
    import bentoml

    target = tmp_path / "image"
    bentoml.bentos.export_bento(bento.tag, str(target), output_format="folder")
    (found,) = target.rglob("bento.yaml") if target.is_dir() else []
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("BENTOML_HOME", str(empty))
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    return found.parent


def test_in_a_container_the_weights_come_from_the_bento_and_a_dead_engine_ends_it(
    in_container: Path, tmp_path: Path
) -> None:
    assert list(in_container.glob("models/parrot/*/model.safetensors"))
    assert list(in_container.glob("models/pirate/*/adapter_model.safetensors"))
    environment = {"OPENLLM_ENGINE_ARGS": '{"die_after": 3}'}
    with running(command(str(in_container)), tmp_path / "log", **environment) as server:
        server.wait_ready()
        assert [model.id for model in server.openai().models.list()] == ["parrot", "pirate"]
        begun, found = threading.Event(), list[str]()
        stream_slowly(server, 10, begun, found)
        assert "error" in found
        assert server.wait() != 0
        assert server.status("/livez") == 0
    assert "The engine of parrot has stopped" in server.text()


def test_a_dead_engine_is_replaced_where_bentoml_respawns(
    bento: BuildResult, tmp_path: Path
) -> None:
    """So is a worker that was killed; who asks meanwhile is told at once."""
    with running(
        command(bento.tag), tmp_path / "log", OPENLLM_ENGINE_ARGS='{"die_after": 3}'
    ) as server:
        server.wait_ready()
        first = {member.pid for member in server.family()}
        stream_slowly(server, 10, threading.Event(), [])
        end = time.monotonic() + STOP_WAIT
        while first >= {member.pid for member in server.family()}:
            assert time.monotonic() < end, server.text()
            time.sleep(0.1)
        server.wait_ready()
        _, worker = server.family()
        worker.kill()
        answer = httpx.get(f"{server.url}/v1/models", timeout=STOP_WAIT)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) > 0
        server.wait_ready()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OPENLLM_DTYPE": "float32", "OPENLLM_MAX_MODEL_LEN": "none"},
            "OPENLLM_MAX_MODEL_LEN: 'none' is not a whole",
        ),
        ({"OPENLLM_PORT": "x"}, "OPENLLM_PORT: 'x' is not a whole number"),
    ],
)
def test_a_bad_variable_is_one_line(
    bento: BuildResult, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    with running(command(bento.tag), tmp_path / "log", **variables) as server:
        assert server.wait() == 1
    lines = [line for line in server.text().splitlines() if line.strip()]
    assert said in lines[-1]
    assert len(lines) <= 2


def test_a_service_file_of_an_earlier_version_is_still_one(
    echo_model: Path, tmp_path: Path
) -> None:
    """A project of somebody's own keeps the service.py that it was given."""
    from bentoml import load

    write_project(tmp_path, [LLMSpec(model_id=str(echo_model), backend="echo")])
    file = tmp_path / "service.py"
    text = file.read_text()
    assert "from openllm.bento import create_service" in text
    file.write_text(
        text.replace("from openllm.bento import", "from openllm.bento.llm_service import")
    )
    sys.modules.pop("service", None)
    assert isinstance(load("service:svc", working_dir=str(tmp_path)), LLMService)
