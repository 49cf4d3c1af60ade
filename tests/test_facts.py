"""A backend's facts are said once, read without its engine, and hold wherever one is named."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openllm
from openllm import models
from openllm.backends.base import Backend
from openllm.backends.select import find_backend, select_backend
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import TASKS, LLMSpec, resolve_spec
from openllm.errors import ConfigurationError, UnsupportedCombination
from openllm.facts import Facts, all_facts, backend_names, canonical_name, facts_of
from openllm.models.base import LLMConfig

PACKAGE = Path(openllm.__file__).parent
FACTS = pytest.mark.parametrize("facts", all_facts(), ids=backend_names())


def test_those_that_are_tried_come_first_and_in_order() -> None:
    assert backend_names() == ("vllm", "pytorch", "echo", "flax", "tf")
    assert [facts.rank for facts in all_facts()] == [10, 20, None, None, None]


@FACTS
def test_the_backend_has_the_facts_of_its_package(facts: Facts) -> None:
    backend = find_backend(facts.name)
    assert issubclass(backend, Backend)
    assert backend.facts is facts is facts_of(facts.name)
    assert set(facts.tasks) <= set(TASKS)


def test_no_word_spells_two_backends() -> None:
    words = [word for facts in all_facts() for word in (facts.name, *facts.spellings)]
    assert len(words) == len(set(words))


def test_reading_facts_imports_no_backend() -> None:
    code = (
        "import sys; from openllm.facts import all_facts; all_facts();"
        "print(*(m for m in sys.modules if m.endswith('.backend') or m in"
        " ('torch', 'vllm', 'numpy', 'msgspec', 'openllm.backends.base')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_table_of_backends_stands_anywhere_else() -> None:
    """A backend's name is in no collection and no comparison outside its own package; families
    alone list the engines they go together with.
    """
    words = {*backend_names(), "pt"}
    tables = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Compare)
    found = {
        (str(path.relative_to(PACKAGE)), item.value)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[:2] not in [("backends", name) for name in words]
        for table in ast.walk(ast.parse(path.read_text()))
        if isinstance(table, tables)
        for item in ast.iter_child_nodes(table)
        if isinstance(item, ast.Constant) and item.value in words
    }
    assert [pair for pair in found if not pair[0].startswith("models/")] == []
    assert found


@pytest.mark.parametrize(
    ("word", "name"),
    [("pt", "pytorch"), ("torch", "pytorch"), ("jax", "flax"), ("tensorflow", "tf")],
)
def test_a_spelling_stands_for_the_name(word: str, name: str) -> None:
    assert canonical_name(word) == name
    assert LLMSpec(model_id="a", backend=word) == LLMSpec(model_id="a", backend=name)
    assert LLMSpec(model_id="a", backend=word).to_dict()["backend"] == name
    assert LLMSpec.from_json(f'{{"model_id": "a", "backend": "{word}"}}').backend == name
    assert spec_layer({"OPENLLM_BACKEND": word}) == {"backend": name}
    assert resolve_spec({"model_id": "a"}, {"backend": word}).backend == name


def test_pt_is_pytorch_in_code() -> None:
    from openllm.bento.runner.runner import Runner

    assert openllm.LLM("demo", backend="pt").spec.backend == "pytorch"
    assert Runner("llama", backend="pt").spec.backend == "pytorch"
    assert openllm.AutoLLM.for_model("llama", backend="pt").spec.backend == "pytorch"
    assert openllm.AutoLLM.from_pretrained("demo", backend="pt").spec.backend == "pytorch"
    assert openllm.Llama(backend="pt").spec.backend == "pytorch"
    with pytest.raises(UnsupportedCombination, match="AutoVLLM is for backend='vllm', and backend"):
        openllm.AutoVLLM.from_pretrained("demo", backend="pt")


def test_pt_is_pytorch_in_a_family() -> None:
    family = type("FakeConfig", (LLMConfig,), {"name": "fake", "backends": ("pt", "vllm")})
    assert family.backends == ("pytorch", "vllm")


def test_a_word_that_spells_none_names_those_there_are() -> None:
    for make in (lambda: LLMSpec(model_id="a", backend="vlm"), lambda: find_backend("vlm")):
        with pytest.raises(
            ConfigurationError, match="backend 'vlm' is not one of vllm, pytorch, echo, flax, tf"
        ):
            make()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"task": "embed"}, "The flax backend cannot run here: it has no task embed."),
        ({"adapters": ["./a"]}, "The flax backend cannot run here: it has no LoRA adapters."),
    ],
)
def test_what_the_facts_rule_out_is_refused_before_anything_loads(
    fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        select_backend(LLMSpec(model_id="a", backend="flax", **fields), Settings())
    assert str(caught.value) == f"{says} Or take backend=vllm or backend=pytorch."


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "My Engine"},
        {"spellings": "pt"},
        {"spellings": ("",)},
        {"tasks": ["generate"]},
        {"quantizations": "int8"},
        {"packages": (1,)},
    ],
)
def test_wrong_facts_are_refused_where_they_are_written(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(fields))):
        Facts(**{"name": "mine", "title": "mine", **fields})


@pytest.mark.parametrize(
    ("fields", "auto"),
    [
        ({}, None),
        ({"class_prefix": ""}, "AutoLLM"),
        ({"class_prefix": "Mine"}, "AutoMineLLM"),
        ({"class_prefix": "MINE", "auto_class": "AutoMINE"}, "AutoMINE"),
    ],
)
def test_the_auto_class_is_named_by_the_prefix_if_not_otherwise(
    fields: dict[str, Any], auto: str | None
) -> None:
    assert Facts(name="mine", title="mine", **fields).auto_class == auto


def test_a_family_and_a_backend_go_together_if_either_says_so() -> None:
    llama, phi = models.get("llama"), models.get("phi")
    assert (llama.runs_on("flax"), phi.runs_on("flax")) == (True, False)
    assert phi.runs_on("echo")  # which runs all families
    assert phi.all_backends() == ("vllm", "pytorch")
