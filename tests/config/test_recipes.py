"""The recipes that come along: data only, valid, and each renders a whole service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm import models
from openllm.bento.pack.document import (
    merge_document,
    read_document,
    read_resources,
    write_document,
)
from openllm.bento.pack.render import render_readme, render_service
from openllm.bento.pack.resources import Resources
from openllm.config.recipes import find_recipe, recipe_names, recipe_title
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from tests.cli.conftest import Run, environment, run

__all__ = ["environment", "run"]  # the fixtures of the commands' tests
NAMES = [
    "chat-and-embedding",
    "demo",
    "llama-3.1-8b-instruct",
    "llama-3.2-1b-instruct",
    "llama-3.3-70b-instruct",
]


def recipe(name: str) -> Path:
    path = find_recipe(name)
    assert path is not None
    return path


def test_the_recipes_are_these() -> None:
    assert recipe_names() == NAMES
    assert find_recipe("../pyproject") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_data_and_short(name: str) -> None:
    path = recipe(name)
    assert len(path.read_text().splitlines()) <= 15
    assert recipe_title(path).endswith(".")
    for spec in merge_document(read_document(path), {}):
        assert spec.family is not None
        family = models.get(spec.family)
        assert spec.task == "generate" or family.task == spec.task
        assert spec.model_id in (*family.model_ids, "demo")
        family.require_backend(spec.backend or "pytorch")


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_becomes_a_service(run: Run, tmp_path: Path, name: str) -> None:
    printed = json.loads(run("build", name, "--print-spec").stdout)
    specs = [
        LLMSpec.from_dict(item) for item in (printed if isinstance(printed, list) else [printed])
    ]
    compile(render_service(name), "service.py", "exec")
    readme = render_readme(name, specs)
    assert all(spec.served_name in readme for spec in specs)
    document = tmp_path / "spec.json"
    resources = read_resources(recipe(name))
    document.write_text(write_document(specs, resources))
    assert merge_document(read_document(document), {}) == tuple(specs)
    assert read_resources(document) == resources


def test_what_they_ask_of_a_machine() -> None:
    found = {name: read_resources(recipe(name)) for name in NAMES}
    assert found["demo"] == Resources()
    assert found["llama-3.3-70b-instruct"] == Resources(4, "nvidia-a100-80gb")
    (large,) = merge_document(read_document(recipe("llama-3.3-70b-instruct")), {})
    assert large.tensor_parallel_size == 4


def test_the_model_for_embeddings_embeds(run: Run) -> None:
    chat, embedding = json.loads(run("build", "chat-and-embedding", "--print-spec").stdout)
    assert (chat["name"], chat.get("task", "generate")) == ("chat", "generate")
    assert (embedding["name"], embedding["task"]) == ("embedding", "embed")


def test_the_command_lists_them(run: Run) -> None:
    lines = run("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["RECIPE", *NAMES]
    assert "4 x nvidia-a100-80gb" in lines[-1]
    found = {item["name"]: item for item in json.loads(run("recipes", "-o", "json").stdout)}
    assert found["llama-3.2-1b-instruct"]["resources"] == {"gpu": 1, "gpu_type": "nvidia-l4"}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (["gpu"], "must be a mapping of gpu and gpu_type"),
        (None, "must be a mapping of gpu and gpu_type"),
        ({"gpus": 1}, "must be a mapping of gpu and gpu_type"),
        ({"gpu": -1}, "gpu must be a whole number from 0"),
        ({"gpu": True}, "gpu must be a whole number from 0"),
        ({"gpu": 10**6}, "gpu must be a whole number from 0"),
        ({"gpu_type": "a\nb"}, "gpu_type cannot be"),
        ({"gpu_type": "$(reboot)"}, "gpu_type cannot be"),
        ({"gpu_type": "{{ 7 * 7 }}"}, "gpu_type cannot be"),
        ({"gpu_type": "a;b"}, "gpu_type cannot be"),
    ],
)
def test_resources_that_cannot_be_are_one_line(tmp_path: Path, resources: Any, said: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"model_id": "demo", "resources": resources}))
    with pytest.raises(ConfigurationError, match=said) as error:
        read_resources(path)
    assert "\n" not in str(error.value)
