"""What a model id means, and each way a directory can be missing, broken or unsafe."""

from __future__ import annotations

import json

import pytest

from openllm.errors import ConfigurationError, WeightsError
from openllm.weights.resolve import (
    Origin,
    iter_weight_files,
    origin,
    resolve_weights,
    weights_present,
)
from tests.checkpoints import HOME, forbid_network, spec, tensors, write


@pytest.fixture
def no_network(monkeypatch):
    forbid_network(monkeypatch)


# What a model id means.


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [
        ("demo", Origin.DEMO),
        ("./demo", Origin.DIRECTORY),
        ("../a/b", Origin.DIRECTORY),
        ("/models/a", Origin.DIRECTORY),
        ("~/a", Origin.DIRECTORY),
        ("C:\\models\\a", Origin.DIRECTORY),
        ("d:/models/a", Origin.DIRECTORY),
        (".\\a", Origin.DIRECTORY),
        ("here/model", Origin.DIRECTORY),
        ("llama-3:abcdef0123", Origin.STORE),
        ("org/model", Origin.HUB),
        ("gpt2", Origin.HUB),
    ],
)
def test_a_model_id_is_read_one_way(tmp_path, monkeypatch, model_id, expected):
    (tmp_path / "here" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert origin(model_id) is expected


@pytest.mark.parametrize(
    "model_id", ["https://example.org/a/b", "a/b/c", "org/..", "Name:Version", "a b", "org/"]
)
def test_what_means_nothing_is_said_so(tmp_path, monkeypatch, model_id):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"Write|Name"):
        resolve_weights(spec(model_id), HOME)


@pytest.mark.parametrize("model_id", ["hf://org/model", "org/model@v1"])
def test_the_hint_is_nothing_that_is_refused_here(model_id):
    with pytest.raises(ConfigurationError) as caught:
        origin(model_id)
    assert not any(mark in (caught.value.hint or "") for mark in ("hf://", "@"))


# Directories.


@pytest.mark.parametrize("style", ["absolute", "relative", "dotted", "home", "link"])
def test_a_directory_is_found_without_the_network(tmp_path, monkeypatch, no_network, style):
    directory = write(tmp_path / "home" / "my model")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(directory)
    written = {
        "absolute": directory,
        "relative": "home/my model",
        "dotted": "./home/../home/my model",
    }
    written |= {"home": "~/my model", "link": "./link"}
    assert resolve_weights(spec(written[style]), HOME) == directory.resolve()
    assert weights_present(spec(written[style]), HOME)


SHARDED = {
    "model.safetensors": None,
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    ).encode(),
    "m-1.safetensors": tensors(a=2),
}
BROKEN = {
    "no config": ({"config.json": None}, "no config.json"),
    "an adapter": ({"config.json": None, "adapter_config.json": b"{}"}, "Pass it with adapters"),
    "torn config": ({"config.json": b'{"a'}, "config.json is not readable JSON"),
    "config is a list": ({"config.json": b"[]"}, "no JSON object"),
    "no weights": ({"model.safetensors": None}, "has no weights"),
    "pickled": (
        {"model.safetensors": None, "pytorch_model.bin": b"x"},
        "pytorch_model.bin is a pickled",
    ),
    "pickled pt": ({"model.safetensors": None, "weights.pt": b"x"}, "weights.pt is a pickled"),
    "only a trainer's": ({"model.safetensors": None, "training_args.bin": b"x"}, "has no weights"),
    "another format": ({"model.safetensors": None, "model.gguf": b"x"}, "only model.gguf"),
    "code": (
        {"config.json": json.dumps({"auto_map": {"AutoModel": "m.M"}}).encode()},
        "config.json names code",
    ),
    "tokenizer code": (
        {"tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["t.T"]}}'},
        "tokenizer_config.json",
    ),
    "a shard missing": (SHARDED, "1 of 2 weight files are missing .* m-2.safetensors"),
    "generation settings that are none": (
        {"generation_config.json": b"[1]"},
        "generation_config.json holds no JSON object",
    ),
    "an index of nothing": ({"model.safetensors.index.json": b"{}"}, "no weight_map"),
    "cut short": ({"model.safetensors": tensors(a=9)[:-4]}, "no whole safetensors file: it has"),
    "cut in the header": ({"model.safetensors": tensors(a=9)[:20]}, "header is cut short"),
    "empty": ({"model.safetensors": b""}, "header is cut short"),
    "a pickle in disguise": (
        {"model.safetensors": b"\x80\x04" + b"x" * 100},
        "no whole safetensors file",
    ),
    "a wrong header": (
        {"model.safetensors": (2).to_bytes(8, "little") + b"[]"},
        "no whole safetensors file",
    ),
    "a pointer of git": (
        {"model.safetensors": b"version 1\noid sha256:0\nsize 1\n"},
        "no whole safetensors file",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_directory_that_cannot_be_loaded_says_why(tmp_path, no_network, name):
    files, words = BROKEN[name]
    directory = write(tmp_path / "model", files)
    with pytest.raises(WeightsError, match=words) as caught:
        resolve_weights(spec(directory), HOME)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert not weights_present(spec(directory), HOME)


@pytest.mark.parametrize("name", ["pickled", "pickled pt", "code", "tokenizer code"])
def test_what_is_unsafe_is_taken_when_trusted(tmp_path, name):
    directory = write(tmp_path / "model", BROKEN[name][0])
    assert resolve_weights(spec(directory, trust_remote_code=True), HOME) == directory


def test_a_missing_directory_is_never_looked_up_on_the_hub(tmp_path, no_network):
    for model_id in (tmp_path / "nowhere", "./nowhere/at-all", "C:\\nowhere"):
        with pytest.raises(WeightsError, match="There is no directory"):
            resolve_weights(spec(model_id), HOME)


def test_a_file_is_no_directory(tmp_path):
    path = write(tmp_path) / "model.safetensors"
    with pytest.raises(WeightsError, match="is a file"):
        resolve_weights(spec(path), HOME)


def test_a_revision_of_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="revision"):
        resolve_weights(spec(write(tmp_path), revision="main"), HOME)


def test_shards_beside_their_index_are_whole(tmp_path):
    directory = write(tmp_path, {**SHARDED, "m-2.safetensors": tensors(b=1)})
    assert resolve_weights(spec(directory), HOME) == directory
    assert {path.name for path in iter_weight_files(directory)} == {
        "m-1.safetensors",
        "m-2.safetensors",
    }
