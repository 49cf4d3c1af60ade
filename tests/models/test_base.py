"""A family that is written wrong is refused where it is defined, in words that name the mistake."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from openllm import models
from openllm.config.sampling import build_params
from openllm.config.spec import TASKS, LLMSpec, resolve_spec
from openllm.errors import ConfigurationError, UnsupportedCombination
from openllm.models import base as config
from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.types import SamplingParams


def _define(**constants: Any) -> type[LLMConfig]:
    return type("FakeConfig", (LLMConfig,), {"name": "fake", **constants})


def test_its_lists_are_those_of_spec_and_types() -> None:
    assert config.TASKS == TASKS
    assert set(config.SAMPLING) <= set(attrs.fields_dict(SamplingParams))


@pytest.mark.parametrize(
    ("constants", "says"),
    [
        ({"name": ""}, "has a wrong name: ''"),
        ({"name": "My-Model"}, "has a wrong name: 'My-Model'"),
        ({"architectures": "LlamaForCausalLM"}, "has a wrong architectures: 'LlamaForCausalLM'"),
        ({"architectures": ("A", "A")}, "has a wrong architectures"),
        ({"default_id": "a/b"}, "has a default_id that is not in its model_ids: 'a/b'"),
        ({"backends": ("vlm",)}, r"has a wrong backends: \('vlm',\)"),
        ({"task": "chat"}, "has a wrong task: 'chat'"),
        ({"sampling": {"temprature": 1}}, "has a wrong sampling"),
        ({"patterns": ("Llama*",)}, "has a wrong patterns"),
        ({"tool_format": ""}, "has a wrong tool_format"),
        ({"by_id_only": 1}, "has a wrong by_id_only"),
        ({"models": {"a/b": (1e9, 2048)}}, "has a wrong models"),
        ({"models": {"a/b": ModelCard(0, 2048)}}, "has a wrong models"),
        ({"models": {"a/b": ModelCard(1e9, 0)}}, "has a wrong models"),
        ({"models": {"a/b": ModelCard(1e9, 2048, active=2e9)}}, "has a wrong models"),
        (
            {"models": {"a/b": ModelCard(1e9, 2048)}, "model_ids": ("a/b",)},
            "has 'a/b' in its models and in its model_ids",
        ),
        ({"marks": (FamilyMarks(),)}, "has a wrong marks"),
        ({"marks": (("<s>",),)}, "has a wrong marks"),
        ({"one_at_a_time": ("pytroch",)}, "has a wrong one_at_a_time"),
        ({"licence": "mit"}, "sets 'licence', which no family has. Did you mean license?"),
    ],
)
def test_a_wrong_family_is_refused_when_it_is_defined(constants: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"FakeConfig {says}"):
        _define(**constants)


def test_a_nameless_family_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FakeConfig has no name"):
        type("FakeConfig", (LLMConfig,), {})


def test_what_is_known_of_a_model_is_found_by_its_id() -> None:
    mixture = ModelCard(8e9, 4096, active=1e9, license="acme-1")
    family = _define(
        models={"a/b": ModelCard(1.5e9, 2048), "a/mix": mixture},
        model_ids=("a/c",),
        default_id="a/b",
        license="mit",
        one_at_a_time=("pt",),
    )
    assert family.model_ids == ("a/b", "a/mix", "a/c")
    licences = [family.license_of(each) for each in ("a/b", "a/mix", "a/c", "x/y")]
    assert licences == ["mit", "acme-1", "mit", "mit"]
    assert family.cards()["a/mix"] == {
        "parameters": 8_000_000_000,
        "active": 1_000_000_000,
        "context": 4096,
        "license": "acme-1",
    }
    assert "vllm" in family.batched_on()
    assert "pytorch" not in family.batched_on()


def test_marks_fit_where_all_of_one_are_there() -> None:
    family = _define(
        marks=(FamilyMarks(("<turn>",), ("<turn>", "<end>")), FamilyMarks(tokens=("<only>",)))
    )
    assert family.is_shown_by("a <turn> b", ("<turn>", "<end>", "<s>"))
    assert not family.is_shown_by("a <turn> b", ("<turn>",))
    assert not family.is_shown_by("", ("<turn>", "<end>"))
    assert family.is_shown_by("", ("<only>",))
    assert not _define().is_shown_by("a <turn> b", ("<turn>", "<end>"))


def test_defaults_cannot_be_changed_by_a_reader() -> None:
    family = _define(sampling={"temperature": 0.5})
    with pytest.raises(TypeError):
        # what is tested: it cannot be set
        family.sampling["temperature"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize("family", models.all_families(), ids=lambda family: family.name)
def test_its_layer_of_the_spec_fits_the_spec(family: type[LLMConfig]) -> None:
    spec = (
        resolve_spec({}, {}, family.spec_layer())
        if family.default_id
        else resolve_spec({"model_id": "a/b"}, family.spec_layer())
    )
    assert (spec.family, spec.task) == (family.name, family.task)
    assert isinstance(spec, LLMSpec)
    build_params(family.sampling)


def test_a_backend_that_does_not_go_together_is_refused_and_the_others_named() -> None:
    with pytest.raises(
        UnsupportedCombination, match=r"Phi does not run on flax\. Choose vllm, pytorch\."
    ):
        models.get("phi").require_backend("flax")
    models.get("phi").require_backend("echo")
    models.get("llama").require_backend("flax")
