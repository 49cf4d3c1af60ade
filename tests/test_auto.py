"""Auto classes and per-family classes: derived from the registry, lazy, and clear about what does not go together."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import openllm
from openllm import models
from openllm.auto import PREFIXES, FamilyLLM, class_names, family_class
from openllm.errors import (
    ConfigurationError,
    MissingDependency,
    UnknownFamily,
    UnsupportedCombination,
    WeightsError,
)
from openllm.llm import LLM
from tests.tiny import write_llama

AUTOS = {
    "pytorch": openllm.AutoLLM,
    "vllm": openllm.AutoVLLM,
    "tf": openllm.AutoTFLLM,
    "flax": openllm.AutoFlaxLLM,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("auto") / "my-llama")


@pytest.mark.parametrize("backend", AUTOS)
def test_for_model_is_lazy_and_of_the_right_class(backend: str) -> None:
    llm = AUTOS[backend].for_model("llama", model_id="somebody/some-llama", max_new_tokens=4096)
    assert type(llm).__name__ == f"{PREFIXES[backend]}Llama"
    assert isinstance(llm, FamilyLLM)
    assert isinstance(llm, LLM)
    assert (llm.spec.backend, llm.spec.family, llm.spec.model_id) == (backend, "llama", "somebody/some-llama")
    assert llm.spec.sampling == {"max_new_tokens": 4096}
    assert llm.config is models.get("llama")
    assert not llm.started


def test_for_model_without_an_id_takes_the_familys_default() -> None:
    assert openllm.AutoLLM.for_model("llama").spec.model_id == models.get("llama").default_id


@pytest.mark.parametrize("backend", AUTOS)
def test_the_mapping_holds_what_goes_together(backend: str) -> None:
    mapping = AUTOS[backend]._model_mapping
    expected = [family for family in models.families() if backend in family.backends]
    assert list(mapping) == expected
    assert len(mapping) == len(expected)
    for family in expected:
        assert mapping[family] is family_class(family, backend)
    for family in set(models.families()) - set(expected):
        assert family not in mapping


def test_there_is_one_class_for_each_family_and_backend() -> None:
    pairs = {(family, backend) for family in models.families() for backend in family.backends}
    assert set(class_names().values()) == pairs
    assert len(class_names()) == len(pairs)


def test_family_classes_read_a_directory(weights: Path) -> None:
    assert openllm.Llama.from_pretrained(str(weights)).spec.model_id == str(weights)
    vllm = openllm.VLLMLlama.from_pretrained(str(weights), max_model_len=128)
    assert (vllm.spec.backend, vllm.spec.max_model_len) == ("vllm", 128)


def test_a_family_class_generates(weights: Path) -> None:
    with openllm.Llama.from_pretrained(str(weights), max_new_tokens=3) as llm:
        assert llm("hello", ignore_eos=True).usage.completion_tokens == 3


def test_an_auto_class_takes_any_id(weights: Path) -> None:
    assert openllm.AutoVLLM.from_pretrained(str(weights)).spec.backend == "vllm"
    with pytest.raises(TypeError, match="for_model"):
        openllm.AutoLLM()


# Bad input.


def test_a_near_miss() -> None:
    with pytest.raises(UnknownFamily, match=r"'lama'.*llama"):
        openllm.AutoLLM.for_model("lama")


def test_a_family_and_a_backend_that_do_not_go_together() -> None:
    family = next(family for family in models.families() if "flax" not in family.backends)
    with pytest.raises(UnsupportedCombination, match="does not run on flax") as caught:
        openllm.AutoFlaxLLM.for_model(family.name)
    assert all(backend in str(caught.value) for backend in family.backends)


def test_an_unknown_option() -> None:
    with pytest.raises(ConfigurationError, match="max_model_len"):
        openllm.AutoLLM.for_model("llama", max_model_length=3)


def test_weights_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="ensure_available=True"):
        openllm.AutoLLM.for_model("llama", model_id="nobody/has-this", ensure_available=False)
    with pytest.raises(WeightsError):
        openllm.AutoLLM.for_model("llama", model_id="nobody/has-this", ensure_available=True)


def test_weights_that_are_there(weights: Path) -> None:
    for wanted in (True, False, None):
        assert openllm.AutoLLM.for_model("llama", model_id=str(weights), ensure_available=wanted)


@pytest.mark.parametrize(
    ("backend", "package", "install"),
    [("pytorch", "torch", r"pip install .*(torch|pt)"), ("vllm", "vllm", r"pip install .*vllm")],
)
def test_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, weights: Path, backend: str, package: str, install: str
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> Any:
        return None if name == package else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    llm = AUTOS[backend].for_model("llama", model_id=str(weights))
    with pytest.raises((ConfigurationError, MissingDependency), match=install):
        llm("hello")
