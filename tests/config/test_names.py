"""A model's name is a path, a store tag or a Hub id, and every room gives the same answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm import models
from openllm.config.names import is_hub_id, is_path, is_tag, last_part, split_tag
from openllm.config.settings import Settings
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import WeightsError
from openllm.llm.resolve import Layers, resolve_model, spec_for
from openllm.weights.origin import Origin, origin
from openllm.weights.resolve import resolve_weights

# As somebody on Windows, or with a home of somebody else, may write a directory.
PATHS = ("./llama", "../llama", ".llama", "/m/llama", "~/llama", "~nobody-here/llama")
PATHS += ("org\\llama", "\\m\\llama", "C:\\m\\llama", "C:/m/llama", "d:/llama")
NO_PATHS = (
    "llama",
    "org/llama",
    "org/.llama",
    "llama:1",
    "1:/llama",
    "C:llama",
    "org/a~b",
    "a:b/c",
)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_a_path_in_every_room(name: str, tmp_path: Path) -> None:
    assert is_path(name)
    assert not is_hub_id(name)
    assert not is_tag(name)
    assert origin(name) is Origin.DIRECTORY
    assert models.resolve(name).name == "generic"  # what people call their folders says nothing
    assert LLMSpec(model_id=name).served_name == last_part(name)
    assert AdapterSpec.parse(f"{name}@b").source == f"{name}@b"  # no revision: it is no Hub id
    assert AdapterSpec.parse(f"{name}:fr") == AdapterSpec("fr", name)
    assert resolve_model(name, Layers(), Settings(bentoml_home=tmp_path)).model_id == name
    assert spec_for(Path(name), {}, Settings()).model_id == name
    with pytest.raises(WeightsError, match="There is no directory"):
        resolve_weights(LLMSpec(model_id=name), tmp_path)


@pytest.mark.parametrize("name", NO_PATHS)
def test_what_only_looks_like_one_is_none(name: str) -> None:
    assert not is_path(name)
    assert (
        spec_for(Path(name), {}, Settings()).model_id == f"./{name}"
    )  # a Path says itself that it is one


def test_a_directory_called_demo_is_not_the_demo_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name stands for the model that comes along, also where the family is recognised."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    monkeypatch.chdir(tmp_path)
    settings = Settings(bentoml_home=tmp_path)
    explicit = resolve_model(None, Layers(explicit={"model_id": "demo"}), settings)
    assert (origin("demo"), explicit.family) == (Origin.DEMO, "demo")
    assert origin("./demo") is Origin.DIRECTORY
    assert resolve_model("./demo", Layers(), settings).family == "gpt2"


def test_a_tag_names_a_model_and_its_version() -> None:
    assert split_tag("my-model:4f2c") == ("my-model", "4f2c")
    assert LLMSpec(model_id="my-model:4f2c").served_name == "my-model"
    for name in ("my-model", "My-Model:1", "org/model:1", "a:b:c", ":1", "a:"):
        assert split_tag(name) is None
