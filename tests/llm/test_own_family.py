"""A family's sampling and formats are those of its own models: id, chat template and tokenizer
decide, and an architecture alone does not.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.formats import formats_of
from openllm.llm.model import Model
from openllm.llm.resolve import Layers, resolve_model
from tests.tiny import write_tokenizer

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}{{ tools }}"
)
OTHER = "{% for m in messages %}<turn>{{ m['role'] }}: {{ m['content'] }}{% endfor %}{{ tools }}"
TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def write_directory(
    path: Path, template: str, tokens: tuple[str, ...] = (), architecture: str = "LlamaForCausalLM"
) -> Path:
    """A directory with a configuration and a tokenizer, and no weights."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write_tokenizer(path))
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories by name: Llama's own, and two that have parts of it."""
    folder = tmp_path_factory.mktemp("own")
    write_directory(folder / "llama", LLAMA3, TOKENS)
    write_directory(folder / "template", LLAMA3)
    write_directory(folder / "tokens", OTHER, TOKENS)
    write_directory(folder / "neither", OTHER)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(bentoml_home=tmp_path / "home")


def model_of(path: Path, settings: Settings, name: str | None = None, **options: Any) -> Model:
    spec = resolve_model(
        name or str(path), Layers({"model_id": str(path), **options} if name else options), settings
    )
    return Model(spec, settings, weights_dir=path)


@pytest.mark.parametrize(
    ("name", "own"), [("llama", True), ("template", False), ("tokens", False), ("neither", False)]
)
def test_template_and_tokenizer_decide_of_a_directory(
    folder: Path, settings: Settings, name: str, own: bool
) -> None:
    model = model_of(folder / name, settings)
    assert model.family.name == "llama"
    assert model.own_family.name == ("llama" if own else "generic")
    params = model.sampling_params({})
    assert (params.temperature, params.top_p) == ((0.6, 0.9) if own else (1.0, 1.0))
    assert formats_of(model, tools=True).tools == ("llama3_json" if own else None)


def test_a_foreign_template_with_tools_is_not_read_as_the_familys(
    folder: Path, settings: Settings
) -> None:
    assert formats_of(model_of(folder / "neither", settings), tools=True).tools is None
    said = model_of(folder / "neither", settings, family_defaults=True)
    assert formats_of(said, tools=True).tools == "llama3_json"


def test_who_names_the_family_gets_its_defaults(folder: Path, settings: Settings) -> None:
    named = model_of(folder / "neither", settings, "llama")
    assert named.spec.family_defaults
    assert named.sampling_params({}).temperature == 0.6
    without = model_of(folder / "llama", settings, "llama", family_defaults=False)
    assert without.sampling_params({}).temperature == 1.0


def test_a_recipe_names_a_family_and_a_bento_has_found_it(settings: Settings) -> None:
    def defaults(model_id: str) -> bool | None:
        recipe = {"model_id": model_id, "family": "llama"}
        return resolve_model(None, Layers(recipe=recipe), settings).family_defaults

    assert defaults("./mine") is True
    assert defaults("mine:1f3a") is None
    assert defaults("meta-llama/Llama-3.2-1B-Instruct") is None  # its id says it


def test_a_stored_model_is_known_by_where_it_came_from(folder: Path, settings: Settings) -> None:
    stored = settings.bentoml_home / "models" / "mine" / "1"
    shutil.copytree(folder / "neither", stored)
    info = "name: mine\nversion: '1'\nmetadata: {hub_id: meta-llama/Llama-3.1-8B-Instruct}\n"
    (stored / "model.yaml").write_text(info)
    spec = LLMSpec(model_id="mine:1", family="llama")
    assert Model(spec, settings, weights_dir=stored).own_family.name == "llama"
    (stored / "model.yaml").write_text("name: mine\nversion: '1'\n")
    assert Model(spec, settings, weights_dir=stored).own_family.name == "generic"


def test_a_directory_is_not_known_by_its_path(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder / "neither", tmp_path / "meta-llama" / "Llama-3.1-8B")
    monkeypatch.chdir(tmp_path)
    model = model_of(Path("meta-llama/Llama-3.1-8B"), settings)
    assert model.own_family.name == "generic"
    assert resolve_model("meta-llama/Llama-3.1-70B", Layers(), settings).family == "llama"
