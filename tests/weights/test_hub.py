"""Models from the Hub: fetched once, only what is safe, and one clear line for each of its bad
days.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

import openllm
from openllm.errors import WeightsError
from openllm.weights.resolve import read_config, resolve_weights, weights_present
from tests.checkpoints import CONFIG, FILES, HOME, spec
from tests.hub import FakeHub
from tests.tiny import write_adapter, write_llama


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "hf")
        monkeypatch.setattr("openllm.weights.fetching.faults._FIRST_PAUSE", 0.0)
        yield hub


MORE = {
    "README.md": b"card",
    "chat_template.jinja": b"{{ x }}",
    "pytorch_model.bin": b"pickled",
    "modeling_llama.py": b"import os",
    "original/consolidated.safetensors": b"x",
    "consolidated.safetensors": b"x",
    "model.gguf": b"x",
}


def test_a_hub_id_is_fetched_once_and_only_what_is_safe(hub, tmp_path):
    commit = hub.add("org/model", {**FILES, **MORE})
    assert not weights_present(spec("org/model"), HOME)
    directory = resolve_weights(spec("org/model"), HOME)
    assert directory.name == commit
    names = {path.name for path in directory.rglob("*") if path.is_file()}
    assert names == {*FILES, "README.md", "chat_template.jinja"}
    assert weights_present(spec("org/model"), HOME)
    hub.requests.clear()
    assert resolve_weights(spec("org/model"), HOME) == directory
    assert not [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_revision_is_honoured(hub):
    old = hub.add("org/model", FILES)
    new = hub.add("org/model", {**FILES, "config.json": b'{"new": 1}'})
    hub.add("org/model", {**FILES, "config.json": b'{"branch": 1}'}, branch="dev")
    assert read_config(resolve_weights(spec("org/model", revision=old), HOME)) == CONFIG
    assert resolve_weights(spec("org/model"), HOME).name == new
    assert read_config(resolve_weights(spec("org/model", revision="dev"), HOME)) == {"branch": 1}


def test_the_cache_does_when_the_hub_is_gone(hub, monkeypatch, tmp_path):
    hub.add("org/model", FILES)
    directory = resolve_weights(spec("org/model"), HOME)
    hub.stop()
    assert resolve_weights(spec("org/model"), HOME) == directory
    with pytest.raises(
        WeightsError, match="cannot be reached, and this machine has no whole copy of org/other"
    ):
        resolve_weights(spec("org/other"), HOME)


def test_offline_nothing_is_asked(hub, monkeypatch, tmp_path):
    hub.add("org/model", FILES)
    hub.add("org/other", FILES)
    directory = resolve_weights(spec("org/model"), HOME)
    hub.connect(monkeypatch, tmp_path / "hf", offline=True)
    hub.requests.clear()
    assert resolve_weights(spec("org/model"), HOME) == directory
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids"):
        resolve_weights(spec("org/other"), HOME)
    assert hub.requests == []


def test_a_half_fetched_copy_does_not_pass_for_a_whole_one(hub, monkeypatch, tmp_path):
    hub.add("org/model", FILES)
    directory = resolve_weights(spec("org/model"), HOME)
    (directory / "model.safetensors").unlink()
    assert not weights_present(spec("org/model"), HOME)
    hub.connect(monkeypatch, tmp_path / "hf", offline=True)
    with pytest.raises(WeightsError):
        resolve_weights(spec("org/model"), HOME)
    hub.connect(monkeypatch, tmp_path / "hf")
    assert weights_present(spec("org/model"), HOME) is False
    assert (resolve_weights(spec("org/model"), HOME) / "model.safetensors").is_file()


def test_a_hub_that_stumbles_is_asked_again(hub):
    hub.add("org/model", FILES)
    hub.stumbles = 2
    assert resolve_weights(spec("org/model"), HOME).is_dir()


def test_a_hub_that_stays_down(hub):
    hub.add("org/model", FILES)
    hub.stumbles = 10**6
    with pytest.raises(WeightsError, match="The Hub answered 503"):
        resolve_weights(spec("org/model"), HOME)


@pytest.mark.parametrize(
    ("refuses", "words"),
    [("GatedRepo", "is gated.*HF_TOKEN"), ("RepoNotFound", "does not show it to you")],
)
def test_what_the_hub_refuses(hub, refuses, words):
    hub.add("org/model", FILES)
    hub.repositories["org/model"].refuses = refuses
    with pytest.raises(WeightsError, match=words) as caught:
        resolve_weights(spec("org/model"), HOME)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_revisions(hub):
    hub.add("org/model", FILES)
    with pytest.raises(WeightsError, match="The Hub has no model org/nothing"):
        resolve_weights(spec("org/nothing"), HOME)
    with pytest.raises(WeightsError, match="no revision 'v9'"):
        resolve_weights(spec("org/model", revision="v9"), HOME)


def test_the_token_of_the_environment_is_used(hub, monkeypatch):
    hub.add("org/private", FILES)
    hub.repositories["org/private"].token = "secret"
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        resolve_weights(spec("org/private"), HOME)
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert resolve_weights(spec("org/private"), HOME).is_dir()


def test_pickled_weights_on_the_hub_are_refused_by_name_or_fetched_when_trusted(hub):
    files = {key: value for key, value in FILES.items() if key != "model.safetensors"}
    hub.add("org/old", {**files, "pytorch_model.bin": b"x", "code.py": b"1"})
    with pytest.raises(WeightsError, match=r"org/old/pytorch_model\.bin is a pickled"):
        resolve_weights(spec("org/old"), HOME)
    directory = resolve_weights(spec("org/old", trust_remote_code=True), HOME)
    assert (directory / "pytorch_model.bin").is_file()
    assert (directory / "code.py").is_file()


def test_no_room_is_said_before_anything_is_fetched(hub, monkeypatch):
    hub.add("org/model", FILES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(WeightsError, match="has 10 B left"):
        resolve_weights(spec("org/model"), HOME)
    assert not [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_process_of_its_own_says_nothing_on_stderr(hub, tmp_path):
    """As a user has it: the endpoint from the environment, no terminal, no progress bars."""
    hub.add("org/model", FILES)
    code = (
        "from openllm.weights.resolve import *; from openllm.config.spec import LLMSpec\n"
        "print(resolve_weights(LLMSpec(model_id='org/model'), None).name)"
    )
    environ = {**os.environ, **hub.environ(tmp_path / "fresh")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in hub.repositories["org/model"].commits
    assert done.stderr == ""


def test_a_token_given_in_code_reaches_the_downloads_and_nothing_else(hub, tmp_path, caplog):
    base = write_llama(tmp_path / "base")
    hub.add("org/private", base)
    hub.add("org/pirate", write_adapter(tmp_path / "pirate", base))
    for repository in hub.repositories.values():
        repository.token = "hf_given"
    options = {"backend": "echo", "adapters": ["org/pirate:arr"]}
    with pytest.raises(WeightsError, match="does not show it"):
        asyncio.run(openllm.LLM("org/private", **options).start())
    with caplog.at_level("DEBUG"):
        llm = openllm.LLM.from_pretrained("org/private", token="hf_given", **options)
        assert (
            asyncio.run(
                llm.generate("hello", adapter_name="arr", max_tokens=2)
            ).usage.completion_tokens
            == 2
        )
    llm.close()
    family = openllm.AutoLLM.for_model(
        "llama", "org/private", ensure_available=True, token="hf_given"
    )
    assert family.weights_dir == llm.weights_dir
    shown = (repr(llm), str(llm.spec), llm.spec.to_json(), str(llm.backend.spec), caplog.text)
    assert not any("hf_given" in text for text in shown)
