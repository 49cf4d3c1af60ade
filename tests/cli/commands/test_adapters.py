"""`openllm start --adapter-id` and `openllm adapters`, against a real engine in a process of its
own.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.bento.conftest import STOP_WAIT, ServerProcess, running
from tests.cli.conftest import Run
from tests.cli.servers import Scripted
from tests.serving import Running
from tests.tiny import write_adapter, write_llama

KEY = {"OPENLLM_ADMIN_KEY": "admin-key"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("adapters")
    base = write_llama(folder / "base")
    root = folder / "root"
    for seed, name in enumerate(("red", "green", "blue")):
        write_adapter(root / name, base, seed=seed + 1)
    write_adapter(root / "wide", base, rank=32)
    options = [
        "--backend",
        "pytorch",
        "--dtype",
        "float32",
        "--max-adapters",
        "2",
        "--max-lora-rank",
        "8",
    ]
    mounted = ["--adapter-id", f"{root / 'red'}:scarlet", "--adapter-id", str(root / "green")]
    command = ["openllm", "start", str(base), *options, *mounted, "--adapter-root", str(root)]
    with running(command, folder / "log", BENTOML_HOME=str(folder / "home"), **KEY) as found:
        found.wait_ready()
        yield found
        found.send(signal.SIGTERM)
        assert found.wait() == 0
        assert "Traceback" not in found.text()


def say(server: ServerProcess, model: str) -> str:
    body = {
        "model": model,
        "prompt": "hello world",
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
    }
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=STOP_WAIT)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def test_adapters_named_at_start_are_models_with_a_parent(server: ServerProcess) -> None:
    cards = {
        card["id"]: card["parent"] for card in httpx.get(f"{server.url}/v1/models").json()["data"]
    }
    assert cards == {"base": None, "scarlet": "base", "green": "base"}
    assert len({say(server, name) for name in cards}) == 3


def test_adapters_come_and_go_by_command(server: ServerProcess, run: Run) -> None:
    at = ("--endpoint", server.url)
    before = say(server, "scarlet")
    assert run("adapters", "add", "sky", "blue", *at, **KEY).stdout == "Mounted sky on base.\n"
    assert (
        len({say(server, name) for name in ("base", "scarlet", "green", "sky")}) == 4
    )  # two are resident at a time
    assert say(server, "scarlet") == before
    listed = run("adapters", "list", *at, **KEY).stdout
    assert [line.split() for line in listed.splitlines()[1:]] == [
        ["scarlet", "base"],
        ["green", "base"],
        ["sky", "base"],
    ]
    body = {
        "prompt": "hello world",
        "adapter_name": "sky",
        "max_tokens": 8,
        "temperature": 0,
        "ignore_eos": True,
    }
    native = httpx.post(f"{server.url}/v1/generate", json=body, timeout=STOP_WAIT).json()
    assert native["outputs"][0]["text"] == say(server, "sky")
    assert run("adapters", "remove", "sky", *at, **KEY).stdout == "Removed sky.\n"
    gone = httpx.post(f"{server.url}/v1/completions", json={"model": "sky", "prompt": "x"})
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("wide", "wide has rank 32, above the limit of 8. Raise OPENLLM_MAX_LORA_RANK."),
        ("../base", "Absolute paths, '..' and URLs are not taken."),
        ("missing", "There is no adapter 'missing' to mount."),
    ],
)
def test_what_cannot_be_mounted_is_one_line(
    server: ServerProcess, run: Run, source: str, says: str
) -> None:
    result = run("adapters", "add", "x", source, "--endpoint", server.url, **KEY)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert says in result.stderr
    assert str(server.log.parent) not in result.stderr


def test_a_wrong_key_changes_nothing(server: ServerProcess, run: Run) -> None:
    for command in (("add", "x", "blue"), ("remove", "green"), ("list",)):
        result = run("adapters", *command, "--endpoint", server.url, OPENLLM_ADMIN_KEY="wrong")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "admin key" in result.stderr
    assert len({say(server, name) for name in ("base", "green")}) == 2


def test_adapters_are_listed_with_the_admin_key(run: Run, chat_server: Running) -> None:
    listed = run("adapters", "list", "--endpoint", chat_server.url, OPENLLM_ADMIN_KEY="admin")
    assert listed.stdout == "No adapters are mounted.\n"
    assert (
        run(
            "adapters", "list", "-o", "json", "--endpoint", chat_server.url, "--admin-key", "admin"
        ).stdout
        == "[]\n"
    )
    refused = run("adapters", "list", "--endpoint", chat_server.url, OPENLLM_ADMIN_KEY="user")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "admin key" in refused.stderr
    missing = run(
        "adapters", "remove", "nobody", "--endpoint", chat_server.url, OPENLLM_ADMIN_KEY="admin"
    )
    assert missing.stderr.startswith("Error: There is no adapter 'nobody'.")


def test_adapters_are_mounted_and_removed(run: Run, scripted: str) -> None:
    entry = {"id": "pirate", "object": "adapter", "parent": "demo"}
    Scripted.answers["POST /v1/adapters"] = (201, json.dumps(entry))
    Scripted.answers["GET /v1/adapters"] = (200, json.dumps({"object": "list", "data": [entry]}))
    Scripted.answers["DELETE /v1/adapters/p%2Frate"] = (200, '{"deleted": true}')
    added = run("adapters", "add", "pirate", "pirate:1f", "--model", "demo", "--endpoint", scripted)
    assert added.stdout == "Mounted pirate on demo.\n"
    assert (
        run("adapters", "list", "--endpoint", scripted).stdout == "ADAPTER  MODEL\npirate   demo\n"
    )
    assert run("adapters", "remove", "p/rate", "--endpoint", scripted).stdout == "Removed p/rate.\n"
    assert Scripted.asked == [
        ("POST", "/v1/adapters", {"name": "pirate", "source": "pirate:1f", "model": "demo"}),
        ("GET", "/v1/adapters", None),
        ("DELETE", "/v1/adapters/p%2Frate", None),
    ]
