"""What people type for a model becomes one spec, under one precedence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import openllm
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, UnknownFamily
from openllm.llm.resolve import Layers, resolve_model
from openllm.weights.aliases import set_alias


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(bentoml_home=tmp_path / "home")


def _model(path: Path, architecture: str) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return path


def _resolve(model: str | None, settings: Settings, **layers: Any) -> LLMSpec:
    return resolve_model(model, Layers(**layers), settings)


def test_nothing_said_is_the_demo(settings: Settings) -> None:
    assert _resolve(None, settings) == LLMSpec(model_id="demo", family="demo")
    assert _resolve("demo", settings) == LLMSpec(model_id="demo", family="demo")


def test_a_family_stands_for_its_default_model(settings: Settings) -> None:
    spec = _resolve("llama", settings)
    assert (spec.model_id, spec.family) == ("meta-llama/Llama-3.2-1B-Instruct", "llama")
    assert _resolve("MiniLM", settings).task == "embed"


def test_a_family_with_a_model_id_takes_that(settings: Settings) -> None:
    spec = _resolve("llama", settings, explicit={"model_id": "./mine"})
    assert (spec.model_id, spec.family) == ("./mine", "llama")
    spec = _resolve("llama", settings, environment={"model_id": "./mine"})
    assert (spec.model_id, spec.family) == ("./mine", "llama")


def test_the_demo_asked_for_by_name_is_not_replaced_by_a_variable(settings: Settings) -> None:
    assert _resolve("demo", settings, environment={"model_id": "./mine"}).model_id == "demo"


@pytest.mark.parametrize(
    "model", ["./mine", "/srv/mine", "~/mine", "org/mine", "mine:1f3a", "C:\\mine", "..", "."]
)
def test_what_can_be_no_family_is_the_model_id(settings: Settings, model: str) -> None:
    assert _resolve(model, settings, environment={"model_id": "other"}) == LLMSpec(model_id=model)


def test_a_hub_id_is_recognised(settings: Settings) -> None:
    assert _resolve("Qwen/Qwen3-Embedding-0.6B", settings) == LLMSpec(
        model_id="Qwen/Qwen3-Embedding-0.6B", family="qwen3_embedding", task="embed"
    )


@pytest.mark.parametrize(
    ("written", "repo", "revision"),
    [
        ("hf://org/name", "org/name", None),
        ("hf://org/name@v1", "org/name", "v1"),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("https://huggingface.co/org/name", "org/name", None),
        ("https://huggingface.co/org/name/tree/main", "org/name", "main"),
    ],
)
def test_what_can_only_be_on_the_hub_is_a_repository_and_a_revision(
    settings: Settings, written: str, repo: str, revision: str | None
) -> None:
    spec = resolve_model(written, Layers(), settings)
    assert (spec.model_id, spec.revision, spec.served_name) == (repo, revision, repo)
    assert resolve_model(None, Layers({}, {"model_id": written}), settings).revision == revision
    if revision is not None:
        with pytest.raises(ConfigurationError, match="Name one of them"):
            resolve_model(written, Layers({"revision": "other"}), settings)


@pytest.mark.parametrize(
    ("explicit", "environment", "recipe", "revision"),
    [
        ({"model_id": "a/b@v1"}, {"revision": "main"}, {}, "v1"),
        ({"model_id": "a/b@v1", "revision": "v1"}, {"revision": "main"}, {}, "v1"),
        ({"model_id": "a/b"}, {"revision": "main"}, {}, "main"),
        ({"revision": "v2"}, {"model_id": "a/b@v1"}, {}, "v2"),
        ({}, {"model_id": "a/b@v1"}, {"revision": "main"}, "v1"),
        ({}, {"revision": "v2"}, {"model_id": "a/b@v1"}, "v2"),
        ({}, {"model_id": "a/b@v1", "revision": "v2"}, {}, None),
        ({}, {}, {"model_id": "a/b@v1", "revision": "v2"}, None),
    ],
)
def test_a_revision_in_a_name_is_as_strong_as_the_name(
    settings: Settings,
    explicit: dict[str, str],
    environment: dict[str, str],
    recipe: dict[str, str],
    revision: str | None,
) -> None:
    layers = Layers(explicit, environment, recipe)
    if revision is None:
        with pytest.raises(ConfigurationError, match="Name one of them"):
            resolve_model(None, layers, settings)
    else:
        assert resolve_model(None, layers, settings).revision == revision
    if "model_id" in explicit:
        positional = attrs.evolve(layers, explicit={**explicit, "model_id": None})
        assert resolve_model(explicit["model_id"], positional, settings).revision == revision


def test_an_alias_is_its_tag_and_the_name_of_the_model(settings: Settings) -> None:
    set_alias("llama", "mine:1", settings.bentoml_home)
    spec = resolve_model("llama", Layers(), settings)
    assert (spec.model_id, spec.name, spec.family) == ("mine:1", "llama", None)
    assert resolve_model("llama", Layers({"name": "x"}), settings).name == "x"
    assert resolve_model(None, Layers({"model_id": "llama"}), settings).model_id == "mine:1"


def test_draft_and_adapters_are_named_as_a_model_is(settings: Settings) -> None:
    set_alias("my-prod", "mine:1", settings.bentoml_home)
    adapters = [
        "my-prod",
        "my-prod:chat",
        {"name": "x", "source": "hf://org/lora@v1"},
        "./my-prod:y",
    ]
    said = {"speculative_model": "my-prod", "adapters": adapters}
    for layers in (Layers(said), Layers(environment=said), Layers(recipe=said)):
        spec = resolve_model("org/model", layers, settings)
        assert (spec.speculative_model, spec.model_id) == ("mine:1", "org/model")
        assert [(each.name, each.source, each.revision) for each in spec.adapters] == [
            ("my-prod", "mine:1", None),
            ("chat", "mine:1", None),
            ("x", "org/lora", "v1"),
            ("y", "./my-prod", None),
        ]
    for written, read in (("hf://org/draft", "org/draft"), ("org/draft", "org/draft")):
        spec = resolve_model("org/model", Layers({"speculative_model": written}), settings)
        assert spec.speculative_model == read
    for written in ("org/draft@v1", "hf://org/draft@v1"):
        with pytest.raises(
            ConfigurationError, match=rf"openllm pull {written}\), and name its tag"
        ):
            resolve_model("org/model", Layers({"speculative_model": written}), settings)


def test_a_directory_is_recognised_by_its_architecture_and_not_by_its_path(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _model(tmp_path / "meta-llama" / "llama-3.1-8b", "BertModel")
    _model(tmp_path / "plain", "Qwen2ForCausalLM")
    monkeypatch.chdir(tmp_path)
    assert _resolve("meta-llama/llama-3.1-8b", settings).family == "bert"
    assert _resolve("plain", settings) == LLMSpec(model_id="plain", family="qwen")
    assert _resolve(str(tmp_path / "plain"), settings).family == "qwen"


def test_a_stored_model_is_recognised(settings: Settings) -> None:
    stored = _model(settings.bentoml_home / "models" / "mine" / "1f3a", "GPT2LMHeadModel")
    (stored / "model.yaml").write_text("name: mine\nversion: 1f3a\n")
    assert _resolve("mine:1f3a", settings) == LLMSpec(model_id="mine:1f3a", family="gpt2")


@pytest.mark.parametrize("text", ["{", "[]", '{"architectures": "x"}', '{"architectures": []}', ""])
def test_an_unreadable_config_is_left_to_loading(
    settings: Settings, tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    assert _resolve(str(tmp_path), settings).family is None


def test_a_word_that_is_nothing_names_the_nearest_families(settings: Settings) -> None:
    with pytest.raises(UnknownFamily, match=r"Unknown model family 'lama'\. Did you mean llama"):
        _resolve("lama", settings)
    with pytest.raises(UnknownFamily, match=r"Unknown model family '\./x'"):
        _resolve("./x", settings, explicit={"model_id": "./y"})
    with pytest.raises(UnknownFamily):
        _resolve(None, settings, environment={"family": "lama"})


def test_a_family_without_a_default_model_wants_one(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"generic has no default model\. Add model_id\."):
        _resolve("generic", settings)
    assert _resolve("generic", settings, explicit={"model_id": "a/b"}).family == "generic"


def test_an_empty_name_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="MODEL is empty"):
        _resolve(" ", settings)


_VALUES = {
    "name": st.sampled_from("abc"),
    "task": st.sampled_from(["generate", "embed"]),
    "dtype": st.sampled_from(["auto", "float32"]),
    "seed": st.integers(0, 9),
    "max_model_len": st.integers(1, 9),
    "enforce_eager": st.booleans(),
    "engine_args": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=2),
}
_LAYER = st.fixed_dictionaries({}, optional=_VALUES)


@given(_LAYER, _LAYER, _LAYER)
def test_command_line_beats_environment_beats_recipe_beats_family(
    explicit: dict[str, Any], environment: dict[str, Any], recipe: dict[str, Any]
) -> None:
    got = resolve_model(
        "minilm", Layers(explicit, environment, recipe), Settings(bentoml_home=Path("none"))
    )
    family = {"task": "embed"}
    for field in _VALUES:
        said = [layer[field] for layer in (explicit, environment, recipe, family) if field in layer]
        if field == "engine_args":
            assert got.engine_args == {
                key: value for layer in reversed(said) for key, value in layer.items()
            }
        else:
            assert getattr(got, field) == (
                said[0] if said else attrs.fields_dict(LLMSpec)[field].default
            )


def test_a_task_that_is_named_needs_no_showing_by_the_files(
    settings: Settings, tmp_path: Path
) -> None:
    _model(tmp_path / "mine", "XLMRobertaModel")
    head = [{"idx": 0, "path": "", "type": "custom_st.Head"}]
    (tmp_path / "mine" / "modules.json").write_text(json.dumps(head))
    assert _resolve(str(tmp_path / "mine"), settings, explicit={"task": "embed"}).task == "embed"


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("bakend", "Did you mean backend?"),
        ("max_model_length", "Did you mean max_model_len"),
        ("temprature", "Did you mean temperature"),
        ("tokn", "Did you mean token"),
        ("zzz", "See LLMSpec."),
    ],
)
def test_a_misspelt_option_gets_the_nearest_of_all_that_an_llm_takes(
    option: str, meant: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        openllm.LLM("demo", **{option: 1})
    assert f"An LLM has no option {option!r}. {meant}" in str(caught.value)
