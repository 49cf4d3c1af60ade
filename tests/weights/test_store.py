"""BentoML's model store, read as files."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from openllm.errors import WeightsError
from openllm.weights.resolve import list_store, resolve_weights, weights_present
from tests.checkpoints import FILES, forbid_network, spec, tensors, write


@pytest.fixture
def no_network(monkeypatch):
    forbid_network(monkeypatch)


@pytest.fixture
def store(tmp_path):
    home = tmp_path / "bentoml"
    for number, version in enumerate(("aaaa1", "bbbb2")):
        text = (
            f"name: llama\nversion: {version}\ncreation_time:"
            f" '2025-01-0{number + 1}T00:00:00+00:00'\n"
        )
        write(home / "models" / "llama" / version, {"model.yaml": text.encode()})
    (home / "models" / "llama" / "latest").write_text("aaaa1")
    return home


def test_a_tag_is_found_in_the_store_without_the_network(store, no_network):
    assert resolve_weights(spec("llama:bbbb2"), store) == store / "models" / "llama" / "bbbb2"
    assert resolve_weights(spec("llama:latest"), store) == store / "models" / "llama" / "aaaa1"
    assert weights_present(spec("llama:bbbb2"), store)


def test_the_store_as_bentoml_writes_it(tmp_path):
    """The layout is BentoML's own: what it made is found."""
    script = (
        "import bentoml, pathlib, sys\n"
        "labels, metadata = {'a': 'b'}, {'k': 'v'}\n"
        "with bentoml.models.create('Made-Here', labels=labels, metadata=metadata) as model:\n"
        "    pathlib.Path(model.path_of('config.json')).write_text('{}')\n"
        "    weights = pathlib.Path(model.path_of('model.safetensors'))\n"
        "    weights.write_bytes(bytes.fromhex(sys.argv[1]))\n"
        "print(model.tag)\n"
    )
    environ = {**os.environ, "BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "1"}
    command = [sys.executable, "-c", script, tensors(a=1).hex()]
    tag = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    assert resolve_weights(spec(tag), tmp_path) == resolve_weights(
        spec("made-here:latest"), tmp_path
    )
    (stored,) = list_store(tmp_path)
    assert (stored.tag, stored.metadata) == (tag, {"k": "v"})
    assert stored.created is not None


def test_a_tag_the_store_lacks(store, no_network):
    for tag in ("llama:cccc3", "other:latest"):
        with pytest.raises(WeightsError, match=f"The model store has no {tag}"):
            resolve_weights(spec(tag), store)
        assert not weights_present(spec(tag), store)


def test_the_store_is_listed_newest_first(store):
    assert [model.tag for model in list_store(store)] == ["llama:bbbb2", "llama:aaaa1"]
    assert list_store(store)[0].size == sum(map(len, FILES.values()))
    assert list_store(store / "nowhere") == []


def test_a_damaged_entry_does_not_hide_the_others(store):
    (store / "models" / "llama" / "aaaa1" / "model.yaml").write_text("{")
    assert {model.tag for model in list_store(store)} == {"llama:aaaa1", "llama:bbbb2"}


METADATA = [
    {"digest": "1f2f69b16e051e37d28b37a1ae9196204244be53ac26849dc75bf8546d50d7b4"},
    {"digest": "12345678901234567890123456789012"},
    {"hub_id": "org/Model-1.5", "commit": "0" * 40, "kind": "lora"},
    {"hub_id": "yes", "commit": "null", "kind": "2025-01-01"},
    {"note": "two: words # and more", "other": "a\nb", "deep": {"er": 1}, "list": ["x"]},
    {},
]


@pytest.mark.parametrize("metadata", METADATA)
def test_what_is_read_without_yaml_is_what_yaml_reads(tmp_path, metadata):
    """model.yaml as BentoML's own writer makes it."""
    import yaml

    from openllm.bento.pack import store

    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    store._write_info(tmp_path / "models" / "m" / "1", store.bentoml.Tag("m", "1"), metadata)
    (found,) = list_store(tmp_path)
    said = yaml.safe_load((found.path / "model.yaml").read_text())
    assert found.metadata == said["metadata"] == metadata
    assert str(found.created) == str(said["creation_time"]).replace("T", " ")
