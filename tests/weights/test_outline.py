"""A model's outline: from a directory, and from a Hub of which only a few KB are read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.errors import WeightsError
from openllm.weights.hub import hub_cache
from openllm.weights.outline import MOST_READ, outline
from tests.checkpoints import HOME
from tests.hub import FakeHub

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2}
MIB = 2**20


def shard(tensors: dict[str, int], dtype: str = "BF16") -> bytes:
    """A safetensors file of tensors with so many bytes each, all zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in tensors.items():
        header[name] = {"dtype": dtype, "shape": [size // 2], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def sharded(names: list[list[str]], size: int, **index: Any) -> dict[str, bytes]:
    """A repository in several files, each tensor of `size` bytes."""
    count = len(names)
    files = [f"model-{at + 1:05}-of-{count:05}.safetensors" for at in range(count)]
    weight_map = {name: file for file, some in zip(files, names, strict=True) for name in some}
    total = size * len(weight_map)
    head = {"metadata": {"total_size": total}, "weight_map": weight_map, **index}
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors.index.json": json.dumps(head).encode(),
        **{file: shard(dict.fromkeys(some, size)) for file, some in zip(files, names, strict=True)},
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with FakeHub() as found:
        found.connect(monkeypatch, tmp_path / "cache")
        yield found


@pytest.mark.parametrize("ranges", [True, False])
def test_of_a_whole_file_only_the_header_is_read(hub: FakeHub, ranges: bool) -> None:
    """Also from a mirror that knows no ranges: the rest of its answer is not taken."""
    hub.ranges = ranges
    weights = shard({"a": 4 * MIB, "b": 2 * MIB})
    commit = hub.add(
        "org/model", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights}
    )
    found = outline(LLMSpec(model_id="org/model"), HOME)
    assert (found.size, found.commit, found.config) == (6 * MIB, commit, CONFIG)
    assert found.tensors["a"].shape == (2 * MIB,)
    assert found.fetched < 200_000
    assert not (hub_cache() / "models--org--model").exists()  # nothing is downloaded
    if ranges:  # else the Hub goes on writing until it notices that nobody reads
        assert hub.sent.total() < 200_000


def test_a_model_in_several_files_is_read_by_its_index(hub: FakeHub) -> None:
    names = [[f"model.layers.{layer}.part{at}" for at in range(9)] for layer in range(20)]
    hub.add("org/model", sharded(names, 64 * 1024))
    found = outline(LLMSpec(model_id="org/model"), HOME)
    assert len(found.tensors) == 180
    assert found.size == 180 * 64 * 1024
    assert found.fetched < 100_000


def test_headers_that_are_longer_than_expected_are_read_to_their_end(hub: FakeHub) -> None:
    names = [["x" * 10] * 1, ["y"]]
    files = sharded(names, 1024)
    long = {f"{'z' * 200}{at}": 64 for at in range(600)}  # a header of 150 KB
    files["model-00002-of-00002.safetensors"] = shard(long)
    hub.add("org/model", files)
    found = outline(LLMSpec(model_id="org/model"), HOME)
    assert len(found.tensors) == 601


@pytest.mark.parametrize("said", [True, False])
def test_of_too_many_tensors_only_the_sum_is_known(hub: FakeHub, said: bool) -> None:
    names = [[f"model.layers.{layer}.experts.{at}.w" for at in range(700)] for layer in range(20)]
    files = sharded(names, 2)
    if not said:
        index = json.loads(files["model.safetensors.index.json"])
        files["model.safetensors.index.json"] = json.dumps(index | {"metadata": {}}).encode()
    hub.add("org/model", files)
    found = outline(LLMSpec(model_id="org/model"), HOME)
    headers = sum(len(data) for name, data in files.items() if name.endswith("safetensors"))
    assert not found.tensors
    assert found.size == (28_000 if said else headers)  # the files: their headers counted
    assert found.fetched < MOST_READ


def test_a_revision_is_pinned_by_the_first_answer(hub: FakeHub) -> None:
    files = sharded([["a"], ["b"]], 1024)
    commit = hub.add("org/model", files, branch="next")
    found = outline(LLMSpec(model_id="org/model", revision="next"), HOME)
    assert found.commit == commit
    asked = [path for _, path in hub.requests if "/resolve/" in path]
    assert "/resolve/next/config.json" in asked[0]
    assert all(f"/resolve/{commit}/" in path for path in asked[1:])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": b"x"}, "has no config.json"),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "has no safetensors weights"),
        ({"config.json": b"{"}, "is not readable JSON"),
        ({"config.json": b"{}", "model.safetensors": b"<html>"}, "is no safetensors file"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(
    hub: FakeHub, files: dict[str, bytes], said: str
) -> None:
    hub.add("org/model", files)
    with pytest.raises(WeightsError, match=said) as caught:
        outline(LLMSpec(model_id="org/model"), HOME)
    assert "\n" not in str(caught.value)


def test_the_hub_refuses_as_it_does_for_a_download(hub: FakeHub) -> None:
    with pytest.raises(WeightsError, match="has no model org/none"):
        outline(LLMSpec(model_id="org/none"), HOME)
    hub.add("org/gated", {"config.json": b"{}"})
    hub.repositories["org/gated"].refuses = "GatedRepo"
    with pytest.raises(WeightsError, match="is gated"):
        outline(LLMSpec(model_id="org/gated"), HOME)
    hub.stumbles = 1
    hub.add("org/model", {"config.json": b"{}", "model.safetensors": shard({"a": 64})})
    assert outline(LLMSpec(model_id="org/model"), HOME).size == 64


def test_of_what_is_here_the_network_is_not_asked(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for name, data in sharded([["a"], ["b"]], 1024).items():
        (tmp_path / "m" / name).write_bytes(data)
    found = outline(LLMSpec(model_id=str(tmp_path / "m")), HOME)
    assert (found.size, found.fetched, set(found.tensors)) == (2048, 0, {"a", "b"})
    assert outline(LLMSpec(model_id="demo"), HOME).size > MIB
    assert not hub.requests
