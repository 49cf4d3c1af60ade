"""What a model directory says of itself: configuration, digest, size."""

from __future__ import annotations

import os

import pytest

from openllm.errors import WeightsError
from openllm.weights.checkpoint import (
    check_checkpoint,
    iter_weight_files,
    model_files,
    tensor_shapes,
)
from openllm.weights.resolve import architecture, content_digest, directory_size, read_config
from tests.checkpoints import CONFIG, FILES, tensors, write


def test_what_a_directory_says_of_itself(tmp_path):
    write(tmp_path)
    assert read_config(tmp_path) == CONFIG
    assert architecture(tmp_path) == "LlamaForCausalLM"
    (tmp_path / "config.json").write_text("{}")
    assert architecture(tmp_path) is None


def test_the_digest_is_of_content_alone(tmp_path):
    first, second = write(tmp_path / "a"), tmp_path / "b"
    for name in reversed(FILES):
        second.mkdir(exist_ok=True)
        (second / name).symlink_to(first / name)
    os.utime(first / "config.json", (1, 1))
    ignored = {
        ".git/config": b"x",
        "model.yaml": b"x",
        "pytorch_model.bin": b"x",
        "__pycache__/a.pyc": b"x",
    }
    write(second, {**dict.fromkeys(FILES), **ignored})
    assert content_digest(first) == content_digest(second)
    assert directory_size(first) == directory_size(second) == sum(map(len, FILES.values()))


@pytest.mark.parametrize(
    "change",
    [
        {"config.json": b"{ }"},
        {"extra.json": b""},
        {"tokenizer.json": None},
        {"model.safetensors": tensors(a=3, b=5) + b"\0"},
    ],
)
def test_the_digest_sees_every_change(tmp_path, change):
    assert content_digest(write(tmp_path / "a")) != content_digest(write(tmp_path / "b", change))


def test_moving_bytes_between_files_changes_the_digest(tmp_path):
    first = write(tmp_path / "a", {"x.txt": b"one", "y.txt": b"two"})
    second = write(tmp_path / "b", {"x.txt": b"onet", "y.txt": b"wo"})
    assert content_digest(first) != content_digest(second)


def test_a_whole_file_goes_before_an_index_and_copies_are_left_out(tmp_path):
    files = {
        "config.json": b"{}",
        "model-1-of-1.safetensors": tensors(a=9),
        "consolidated.safetensors": tensors(a=9),
        "vision.safetensors": tensors(b=1),
        "model.safetensors.index.json": b'{"weight_map": {"a": "model-1-of-1.safetensors"}}',
    }
    directory = write(tmp_path / "model", files)
    (directory / "model.safetensors").unlink(missing_ok=True)
    read = {"model-1-of-1.safetensors", "vision.safetensors"}
    assert {path.name for path in iter_weight_files(directory)} == read
    assert "consolidated.safetensors" not in {path.name for path in model_files(directory)}
    (directory / "model.safetensors").write_bytes(tensors(c=1))
    (directory / "model-1-of-1.safetensors").unlink()
    check_checkpoint(directory)
    assert set(tensor_shapes(directory)) == {"b", "c"}


def test_links_that_lead_nowhere_are_said(tmp_path):
    directory = write(tmp_path / "model")
    (directory / "vocab.json").symlink_to(tmp_path / "blobs" / "abc")
    with pytest.raises(WeightsError, match=r"vocab.json is a link to .*abc") as caught:
        check_checkpoint(directory)
    assert "cp -L" in str(caught.value.hint)
