"""Several models in one Bento, and openllm's endpoints beside somebody's own: in real `bentoml
serve` processes.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from types import FunctionType
from typing import Any

import httpx
import psutil
import pytest

import openllm
from openllm.bento.build import BuildOptions, build
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from tests.bento.conftest import STOP_WAIT, ServerProcess, running
from tests.bento.test_serve import stream_slowly

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def serving(target: str) -> list[str]:
    return ["bentoml", "serve", target, "--host", "127.0.0.1"]


def engines_of(server: ServerProcess) -> list[psutil.Process]:
    """The processes that BentoML started for engines; by their service's name."""
    return [
        member for member in server.family() if any("_engine_" in word for word in member.cmdline())
    ]


def test_a_bento_of_two_models(echo_model: Path, home: Path, tmp_path: Path) -> None:
    chat = LLMSpec(
        model_id=str(echo_model), backend="echo", name="chat", engine_args={"delay": 0.05}
    )
    vectors = LLMSpec(model_id=str(echo_model), backend="echo", name="vectors", task="embed")
    bento = build((chat, vectors), BuildOptions(name="both"))
    assert len(bento.models) == 1  # the same weights, once
    with running(serving(bento.tag), tmp_path / "log", OPENLLM_API_WORKERS="2") as server:
        server.wait_ready()
        _, *workers = server.family()
        assert server.listening_ports(*workers) == {server.port}
        assert len(engines_of(server)) == 2
        ask_both(server)
        engines_of(server)[
            0
        ].kill()  # BentoML starts it again, and so the workers that have lost it
        end = time.monotonic() + STOP_WAIT
        while server.status("/readyz") == 200:
            assert time.monotonic() < end, "nobody has noticed"
            time.sleep(0.05)
        server.wait_ready()
        ask_both(server)

        members = server.family()
        begun, found = threading.Event(), list[str]()
        reader = threading.Thread(
            target=stream_slowly, args=(server, 40, begun, found), kwargs={"model": "chat"}
        )
        reader.start()
        assert begun.wait(STOP_WAIT)
        server.send(signal.SIGTERM)
        reader.join(STOP_WAIT)
        assert found[-2:] == ["length", "data: [DONE]"]
        assert server.wait() == 0
        assert not psutil.wait_procs(members, timeout=STOP_WAIT)[1]


def ask_both(server: ServerProcess) -> None:
    client = server.openai()
    assert [model.id for model in client.models.list()] == ["chat", "vectors"]
    assert (
        client.completions.create(model="chat", prompt="hello there", max_tokens=9).choices[0].text
        == "hello there"
    )
    first, second = client.embeddings.create(model="vectors", input=["one", "two"]).data
    assert first.embedding != second.embedding


def test_a_bento_of_one_model_with_two_workers(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    """It was built without a word of workers: the environment where it is served says how many."""
    bento = build(LLMSpec(model_id=str(echo_model), backend="echo"))
    with running(serving(bento.tag), tmp_path / "log", OPENLLM_API_WORKERS="2") as server:
        server.wait_ready()
        assert len(engines_of(server)) == 1
        answer = server.openai().completions.create(
            model="parrot", prompt="hello there", max_tokens=9
        )
        assert answer.choices[0].text == "hello there"
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def example(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / name, folder / name))


def test_ones_own_apis_beside_openais(home: Path, tmp_path: Path) -> None:
    folder = example("own_service", tmp_path)
    with running(serving("."), folder / "log") as server:
        server.wait_ready()
        question: dict[str, Any] = {"text": "What is a Bento?", "max_tokens": 12}
        shouted = (
            httpx.post(f"{server.url}/shout", json=question, timeout=STOP_WAIT)
            .raise_for_status()
            .text
        )
        assert shouted
        assert shouted == shouted.upper()
        with httpx.stream(
            "POST", f"{server.url}/shout_along", json=question, timeout=STOP_WAIT
        ) as answer:
            pieces = list(answer.iter_text())
        assert "".join(pieces)
        assert "".join(pieces) == "".join(pieces).upper()
        messages = [{"role": "user", "content": "What is a Bento?"}]
        chat = server.openai().chat.completions.create(
            model="demo", messages=messages, max_tokens=8
        )  # type: ignore[call-overload]  # plain dicts do
        assert chat.choices[0].message.content
        assert "openllm_requests_total" in httpx.get(f"{server.url}/metrics").text
        assert "/shout" in httpx.get(f"{server.url}/docs.json").json()["paths"]
        assert server.status("/nothing") == 404
        server.send(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("name", "target", "path", "body"),
    [
        ("depends", ".", "/classify", {"json": {"text": "I like it"}}),
        ("legacy_runner", "service.py:svc", "/ask", {"content": "What is a Bento?"}),
    ],
)
def test_the_other_examples(
    home: Path, tmp_path: Path, name: str, target: str, path: str, body: dict[str, Any]
) -> None:
    folder = example(name, tmp_path)
    with running(serving(target), folder / "log") as server:
        server.wait_ready()
        answer = httpx.post(f"{server.url}{path}", timeout=STOP_WAIT, **body)
        assert answer.status_code == 200, server.text()
        assert answer.text
        if name == "depends":
            assert answer.text in {"good", "bad", "neither"}


def test_models_of_a_service_need_names_of_their_own() -> None:
    spec = LLMSpec(model_id="./m", name="twin")
    with pytest.raises(ConfigurationError, match="'twin'"):
        openllm.bento.service(spec, spec)(type("Own", (), {}))


def test_the_doors_stay_functions_when_the_rooms_behind_them_are_loaded() -> None:
    import openllm.bento.services.own

    for name in ("create_service", "depends", "service"):
        for _ in range(2):
            assert isinstance(getattr(openllm.bento, name), FunctionType)


def test_a_service_needs_a_model() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        openllm.bento.service()(type("Own", (), {}))
