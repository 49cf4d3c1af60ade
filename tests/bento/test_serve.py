"""`openllm start`: one process, one port, the service.py a Bento would have; and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from openllm.backends.select import find_backend
from openllm.bento.build import build
from openllm.bento.pack.document import bento_document, read_document
from openllm.bento.serve import serve
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, OpenLLMError, ServeError, WeightsError
from tests.bento.conftest import STOP_WAIT, ServerProcess, free_port, running

PROMPT = "hello world, how do I build and serve a model on this machine?"


def start(model: Path | str, *options: str) -> list[str]:
    return ["openllm", "start", str(model), "--backend", "echo", *options]


def stream_slowly(
    server: ServerProcess,
    tokens: int,
    begun: threading.Event,
    found: list[str],
    model: str | None = None,
) -> None:
    """Read a stream to its end; `found` gets each chunk's finish_reason or error, and what ended
    it.
    """
    body = {
        "prompt": PROMPT,
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
        "model": model,
    }
    with httpx.stream(
        "POST", f"{server.url}/v1/completions", json=body, timeout=STOP_WAIT
    ) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                begun.set()
                chunk = json.loads(line.removeprefix("data: "))
                found.append(
                    "error" if "error" in chunk else str(chunk["choices"][0]["finish_reason"])
                )
            elif line:
                found.append(line)


def test_it_answers_on_one_port_and_ends_cleanly(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    with running(start(echo_model, "--engine-arg", "delay=0.1"), tmp_path / "log") as server:
        server.wait_ready()
        assert server.listening_ports() == {server.port}
        assert len(server.family()) == 1
        client = server.openai()
        assert [model.id for model in client.models.list()] == ["parrot"]
        whole = (
            client.completions.create(model="parrot", prompt=PROMPT, max_tokens=4).choices[0].text
        )
        parts = client.completions.create(model="parrot", prompt=PROMPT, max_tokens=4, stream=True)
        assert "".join(part.choices[0].text for part in parts) == whole
        assert PROMPT.startswith(whole)

        begun, found = threading.Event(), list[str]()
        reader = threading.Thread(target=stream_slowly, args=(server, 15, begun, found))
        reader.start()
        assert begun.wait(STOP_WAIT)
        server.send(signal.SIGTERM)
        while server.status("/readyz") == 200:
            pass
        assert server.status("/livez") in {200, 0}  # 0: the stream was over already
        late = (
            httpx.post(f"{server.url}/v1/completions", json={"prompt": "x"})
            if reader.is_alive()
            else None
        )
        assert late is None or late.status_code == 503
        reader.join(STOP_WAIT)
        assert found[-2:] == ["length", "data: [DONE]"]
        assert server.wait() == 0
        assert server.status("/livez") == 0
    log = server.text()
    assert f"http://127.0.0.1:{server.port}" in log
    assert "Backend echo: it was asked for." in log
    assert "Ready after" in log
    assert "Traceback" not in log
    said = [line for line in log.splitlines() if "Still loading" not in line]
    assert len(said) < 13


def test_a_stream_that_does_not_end_is_cut_off(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    options = ("--engine-arg", "delay=0.1", "--drain-seconds", "0.3", "--max-model-len", "512")
    with running(start(echo_model, *options), tmp_path / "log") as server:
        server.wait_ready()
        begun, found = threading.Event(), list[str]()
        reader = threading.Thread(target=stream_slowly, args=(server, 400, begun, found))
        reader.start()
        assert begun.wait(STOP_WAIT)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        reader.join(STOP_WAIT)
    assert len(found) < 100


def test_ctrl_c_ends_it_while_it_still_loads(echo_model: Path, home: Path, tmp_path: Path) -> None:
    with running(start(echo_model), tmp_path / "log") as server:
        while server.status("/livez") != 200:
            assert server.process.poll() is None, server.text()
        members = server.family()
        server.send(signal.SIGINT)
        assert server.wait() == 0
        assert not [
            member
            for member in members
            if member.is_running() and member.status() != psutil.STATUS_ZOMBIE
        ]
    assert "Traceback" not in server.text()


def test_an_engine_that_dies_ends_the_process_with_an_error(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    options = ("--engine-arg", "die_after=3", "--engine-arg", "delay=0.05")
    with running(start(echo_model, *options), tmp_path / "log") as server:
        server.wait_ready()
        begun, found = threading.Event(), list[str]()
        stream_slowly(server, 10, begun, found)
        assert "error" in found
        assert server.status("/readyz") in {503, 0}
        assert server.wait() == 1
        assert server.status("/livez") == 0
    assert "The engine of parrot has stopped" in server.text()
    assert "Traceback" not in server.text()


def test_what_an_engine_finds_at_its_start_is_said_once(home: Path, tmp_path: Path) -> None:
    options = ("--backend", "pytorch", "--kv-cache-memory", "1KiB")
    with running(["openllm", "start", "demo", *options], tmp_path / "log") as server:
        assert server.wait() == 1
    assert server.text().count("One sequence of") == 1
    assert "Traceback" not in server.text()


def test_a_port_in_use_is_one_line(echo_model: Path, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"Port {port} on 127.0.0.1 is in use") as error:
            serve(LLMSpec(model_id=str(echo_model), backend="echo"), Settings(port=port))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "Cannot listen on"), ("no such host", "no address")]
)
def test_so_is_an_address_of_another_machine(
    echo_model: Path, home: Path, host: str, said: str
) -> None:
    with pytest.raises(ServeError, match=said):
        serve(
            LLMSpec(model_id=str(echo_model), backend="echo"), Settings(host=host, port=free_port())
        )


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (LLMSpec(model_id="./no/such/directory", backend="echo"), WeightsError),
        (LLMSpec(model_id="parrot:0123456789", backend="echo"), WeightsError),
        (LLMSpec(model_id="what is this?", backend="echo"), ConfigurationError),
    ],
)
def test_bad_input_is_found_before_anything_is_served(
    home: Path, spec: LLMSpec, kind: type[OpenLLMError]
) -> None:
    with pytest.raises(kind) as error:
        serve(spec, Settings(port=free_port()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "pytorch", "max_model_len": 999999}, "2048 tokens. Give max_model_len=2048"),
        ({"backend": "pytorch", "tensor_parallel_size": 2}, "runs on one device"),
        ({"backend": "pytorch", "gpu_memory_utilization": 0.5}, "is for a GPU"),
        ({"backend": "pytorch", "device": "cuda"}, "There is no device 'cuda' here"),
        ({"backend": "pytorch", "device": "cude"}, "no device 'cude'. It runs on cpu, cuda, mps"),
        ({"backend": "pytorch", "engine_args": {"prefil": 2}}, "no option 'prefil'"),
        ({"backend": "pytorch", "family": "gpt2"}, "family gpt2 is for GPT2LMHeadModel"),
        ({"backend": "echo", "dtype": "fp16"}, "no dtype=fp16. Did you mean float16?"),
        ({"backend": "echo", "engine_args": {"deley": 1}}, "It has delay, die_after"),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, dict) else "",
)
def test_what_follows_from_options_is_refused_before_listening(
    home: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("openllm.hardware.devices.visible_gpus", lambda mask: ())
    heard: list[str] = []
    settings = Settings(port=free_port(), bentoml_home=home, visible_devices="")
    with pytest.raises(ConfigurationError) as error:
        serve(LLMSpec(**{"model_id": "demo", **options}), settings, heard.append)
    assert said in str(error.value)
    assert error.value.exit_code == 2
    assert heard == []


def test_replicas_that_do_not_fit_are_refused_where_no_backend_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (find_backend("vllm"), "as on a machine with a GPU")
    monkeypatch.setattr("openllm.bento.serve.select_backend", lambda spec, settings: chosen)
    settings = Settings(port=free_port(), bentoml_home=home, visible_devices="0")
    with pytest.raises(ConfigurationError, match="4 replicas want 4 GPUs, and there are 1"):
        serve(LLMSpec(model_id="demo", replicas=4), settings)


def test_nobody_gets_in_before_the_options_are_found_good(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()

    def look(*_: object, **__: object) -> None:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        raise ConfigurationError("looked")

    monkeypatch.setattr("openllm.bento.serve.check_options", look)
    with pytest.raises(ConfigurationError, match="looked"):
        serve(LLMSpec(model_id=str(echo_model), backend="echo"), Settings(port=port))


def test_a_built_bento_can_be_started(echo_model: Path, home: Path, tmp_path: Path) -> None:
    result = build(LLMSpec(model_id=str(echo_model), backend="echo", max_model_len=100))
    assert read_document(bento_document(result.tag)) == (result.specs[0].to_dict(),)
    with running(
        ["openllm", "start", result.tag, "--max-model-len", "90"], tmp_path / "log"
    ) as server:
        server.wait_ready()
        card = httpx.get(f"{server.url}/v1/models").json()["data"][0]
        assert (card["id"], card["max_model_len"]) == ("parrot", 90)


def test_a_bento_that_is_not_there_is_one_line(home: Path) -> None:
    with pytest.raises(ServeError, match=r"There is no Bento 'parrot:x'\. `bentoml list`"):
        bento_document("parrot:x")


def test_a_home_that_cannot_be_made_is_said_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    settings = Settings(port=0, bentoml_home=tmp_path / "file" / "home")
    with pytest.raises(ConfigurationError, match=r"cannot be made: .*\. Point BENTOML_HOME"):
        serve(LLMSpec(model_id="demo", backend="echo"), settings)
