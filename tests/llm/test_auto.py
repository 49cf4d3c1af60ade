"""Auto classes and per-family classes: derived from the registry, lazy, and clear about what does
not go together.
"""

from __future__ import annotations

import copy
import importlib.util
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import openllm
from openllm import models
from openllm.errors import (
    ConfigurationError,
    MissingDependency,
    UnknownFamily,
    UnsupportedCombination,
    WeightsError,
)
from openllm.facts import facts_of
from openllm.llm.auto import FamilyLLM, class_names, family_class
from openllm.llm.llm import LLM
from tests.tiny import write_encoder, write_llama

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
    assert type(llm).__name__ == f"{facts_of(backend).class_prefix}Llama"
    assert isinstance(llm, FamilyLLM)
    assert isinstance(llm, LLM)
    assert (llm.spec.backend, llm.spec.family, llm.spec.model_id) == (
        backend,
        "llama",
        "somebody/some-llama",
    )
    assert llm.spec.sampling == {"max_new_tokens": 4096}
    assert llm.config is models.get("llama")
    assert not llm.started


def test_for_model_without_an_id_takes_the_familys_default() -> None:
    assert openllm.AutoLLM.for_model("llama").spec.model_id == models.get("llama").default_id


@pytest.mark.parametrize("backend", AUTOS)
def test_the_mapping_holds_what_goes_together(backend: str) -> None:
    mapping = AUTOS[backend]._model_mapping
    expected = [family for family in models.all_families() if backend in family.backends]
    assert list(mapping) == expected
    assert len(mapping) == len(expected)
    for family in expected:
        assert mapping[family] is family_class(family, backend)
    for family in set(models.all_families()) - set(expected):
        assert family not in mapping


def test_there_is_one_class_for_each_family_and_backend() -> None:
    pairs = {(family, backend) for family in models.all_families() for backend in family.backends}
    assert set(class_names().values()) == pairs
    assert len(class_names()) == len(pairs)


def test_family_classes_read_a_directory(weights: Path) -> None:
    assert openllm.Llama.from_pretrained(str(weights)).spec.model_id == str(weights)
    vllm = openllm.VLLMLlama.from_pretrained(str(weights), max_model_len=128)
    assert (vllm.spec.backend, vllm.spec.max_model_len) == ("vllm", 128)


def test_a_family_class_generates(weights: Path) -> None:
    with openllm.Llama.from_pretrained(str(weights), max_new_tokens=3) as llm:
        assert llm("hello", ignore_eos=True).usage.completion_tokens == 3


def test_a_vllm_class_shows_transformers_model_as_a_second_copy(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """vLLM's own is in another process, and is not started for it."""
    pytest.importorskip("vllm", reason="needs `make install-vllm`")
    llm = openllm.VLLMLlama.from_pretrained(str(weights))
    assert not caplog.records
    model = llm.model
    assert type(model).__name__ == "LlamaForCausalLM"
    assert "second copy" in caplog.text
    assert llm.model is model
    assert not llm.started


def test_an_auto_class_takes_any_id(weights: Path) -> None:
    assert openllm.AutoVLLM.from_pretrained(str(weights)).spec.backend == "vllm"
    with pytest.raises(TypeError, match="for_model"):
        openllm.AutoLLM()


def test_an_auto_class_finds_the_familys_class(weights: Path) -> None:
    """As transformers' auto classes do, by what the directory says of itself."""
    found = openllm.AutoLLM.from_pretrained(weights)
    assert type(found) is openllm.Llama
    assert repr(found) == f"Llama({str(weights)!r}, backend='pytorch')"
    assert type(openllm.AutoVLLM.from_pretrained("somebody/unheard-of")) is LLM


def test_paths_are_models_too(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (
        openllm.LLM(weights),
        openllm.Llama.from_pretrained(weights),
        openllm.AutoLLM.for_model("llama", weights),
    )
    assert {llm.spec.model_id for llm in made} == {str(weights)}
    monkeypatch.chdir(weights.parent)
    assert openllm.LLM(Path(weights.name)).spec.model_id == f"./{weights.name}"


def test_the_mapping_is_one_to_look_at() -> None:
    mapping = openllm.AutoFlaxLLM._model_mapping
    assert "FlaxLlama" in repr(mapping)
    assert "llama" not in mapping


# Bad input.


@pytest.mark.parametrize("model", [None, 3, models.get("llama")])
def test_what_is_no_family(model: Any) -> None:
    with pytest.raises(UnknownFamily, match="is a text"):
        openllm.AutoLLM.for_model(model)
    with pytest.raises(UnknownFamily, match="pass it as model_id"):
        openllm.AutoLLM.for_model("meta-llama/Llama-3.2-1B")


def test_what_is_no_model() -> None:
    model: Any = 3
    with pytest.raises(ConfigurationError, match="cannot be 3"):
        openllm.LLM(model)


@pytest.mark.parametrize("option", [{"backend": "vllm"}, {"family": "gpt2"}])
def test_what_the_class_has_decided_is_not_silently_replaced(
    weights: Path, option: dict[str, str]
) -> None:
    with pytest.raises(UnsupportedCombination, match="Llama is for"):
        openllm.Llama.from_pretrained(weights, **option)
    assert openllm.Llama.from_pretrained(weights, backend="pytorch", family="llama")
    for make in (openllm.AutoLLM.from_pretrained, partial(openllm.AutoLLM.for_model, "llama")):
        with pytest.raises(UnsupportedCombination, match="is for backend='pytorch'"):
            make(weights, backend="vllm")


def test_a_class_that_there_cannot_be() -> None:
    with pytest.raises(AttributeError, match="Gemma does not run on flax, only on vllm, pytorch"):
        getattr(openllm, "FlaxGemma")  # noqa: B009  a type checker knows that there is none
    with pytest.raises(AttributeError, match="did you mean Llama"):
        getattr(openllm, "Lama")  # noqa: B009  as above


def test_a_backend_that_a_models_family_does_not_run_on(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["MistralForCausalLM"]}')
    for make in (
        openllm.AutoFlaxLLM.from_pretrained,
        lambda path: openllm.LLM(path, backend="flax"),
    ):
        with pytest.raises(UnsupportedCombination, match="Mistral does not run on flax"):
            make(tmp_path)


def test_a_directory_of_another_family(tmp_path: Path) -> None:
    write_encoder(tmp_path / "bert")
    for kind in (openllm.Llama, openllm.VLLMLlama):
        with pytest.raises(WeightsError, match=r"holds a BERT model.*openllm\.LLM"):
            kind.from_pretrained(tmp_path / "bert")("hello")


def test_weights_that_nothing_can_fetch() -> None:
    for wanted in (True, False):
        with pytest.raises(WeightsError, match="no directory"):
            openllm.AutoLLM.for_model("llama", "./nowhere", ensure_available=wanted)


def test_a_copy_knows_its_family(tmp_path: Path) -> None:
    write_encoder(tmp_path / "bert")
    llm = openllm.Llama.from_pretrained(tmp_path / "bert")
    for other in (copy.copy(llm), pickle.loads(pickle.dumps(llm))):
        with pytest.raises(WeightsError, match="holds a BERT model"):
            _ = other.weights_dir


def test_two_models_for_one_class(weights: Path) -> None:
    with pytest.raises(ConfigurationError, match="given two models"):
        openllm.Llama(weights, model_id="somebody/some-llama")
    assert openllm.Llama(model_id=weights).spec == openllm.Llama(weights).spec


def test_a_near_miss() -> None:
    with pytest.raises(UnknownFamily, match=r"'lama'.*llama"):
        openllm.AutoLLM.for_model("lama")


def test_a_family_and_a_backend_that_do_not_go_together() -> None:
    family = next(family for family in models.all_families() if "flax" not in family.backends)
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
