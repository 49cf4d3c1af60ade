"""The recipes that come along: data only, valid, and each renders a whole service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
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
from openllm.hardware.kinds import known_gpu
from openllm.llm.catalogue import known_outline
from openllm.llm.replica import PlannedEngine, PlannedReplica
from tests.cli.conftest import Run, environment, run

__all__ = ["environment", "run"]  # the fixtures of the commands' tests
NAMES = [
    "bge-reranker",
    "chat-and-embedding",
    "deepseek-r1-distill-qwen-7b",
    "demo",
    "gemma-3-27b-it",
    "gemma-3-4b-it",
    "gpt-oss-120b",
    "gpt-oss-20b",
    "llama-3.1-8b-instruct",
    "llama-3.2-1b-instruct",
    "llama-3.3-70b-instruct",
    "magistral-small",
    "mistral-7b-instruct",
    "mistral-small-3.2-24b-instruct",
    "phi-4",
    "qwen2.5-0.5b-instruct",
    "qwen2.5-coder-32b-instruct",
    "qwen2.5-coder-7b-instruct",
    "qwen2.5-vl-7b-instruct",
    "qwen3-30b-a3b-instruct",
    "qwen3-4b-instruct",
    "qwen3-8b",
    "qwen3-coder-30b-a3b-instruct",
    "qwen3-embedding",
    "smollm3-3b",
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


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_a_recipe_fits_the_gpus_that_it_asks_for(name: str) -> None:
    resources = read_resources(recipe(name))
    engines = []
    for spec in merge_document(read_document(recipe(name)), {}):
        family = models.get(spec.family or "")
        outline = known_outline(family, spec.model_id)
        assert outline is not None
        engines.append(PlannedEngine(attrs.evolve(spec, task=family.task), outline))
        card = family.models[spec.model_id]
        assert spec.max_model_len is None or spec.max_model_len <= card.context
        assert spec.max_model_len or family.task != "generate"
        assert (spec.tensor_parallel_size or 1) == (resources.gpu or 0)
    replica = PlannedReplica.of(engines, resources.gpu, resources.gpu_type)
    assert replica.is_known
    assert known_gpu(resources.gpu_type or "") is not None
    assert replica.why_not(replica.place) is None
    used = [len(made.memory.place.gpus) for made in replica.plans(replica.place)]
    assert used == [replica.gpus] * len(engines)  # none stays idle


@pytest.mark.parametrize(
    ("name", "tools", "reasoning"),
    [
        ("qwen3-8b", "hermes", "think"),
        ("gpt-oss-120b", "harmony", "harmony"),
        ("llama-3.3-70b-instruct", "llama3_json", None),
        ("qwen3-coder-30b-a3b-instruct", "qwen3_coder", None),
        ("magistral-small", "mistral_v11", "mistral"),
        ("deepseek-r1-distill-qwen-7b", "deepseek_v3", "think"),
    ],
)
def test_the_family_says_how_tools_are_called_and_thoughts_are_marked(
    run: Run, name: str, tools: str, reasoning: str | None
) -> None:
    spec = json.loads(run("build", name, "--print-spec").stdout)
    family = models.get(spec["family"])
    assert (family.tool_format, family.reasoning_format) == (tools, reasoning)
    assert "tool_format" not in spec  # nothing else is said over it


def test_there_is_one_for_each_thing_that_models_are_for() -> None:
    words: set[str] = set()
    for name in NAMES:
        for spec in merge_document(read_document(recipe(name)), {}):
            words |= set(models.get(spec.family or "").words_of(spec.model_id).split())
    assert words >= {"chat", "code", "vision", "reasoning", "embedding", "reranker"}


def test_the_model_for_embeddings_embeds(run: Run) -> None:
    chat, embedding = json.loads(run("build", "chat-and-embedding", "--print-spec").stdout)
    assert (chat["name"], chat.get("task", "generate")) == ("chat", "generate")
    assert (embedding["name"], embedding["task"]) == ("embedding", "embed")


def test_the_command_lists_them(run: Run) -> None:
    lines = run("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["RECIPE", *NAMES]
    assert "4 x nvidia-a100-80gb" in lines[1 + NAMES.index("llama-3.3-70b-instruct")]
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
