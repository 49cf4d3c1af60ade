"""The file beside service.py: one spec or several, JSON or YAML, under the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.pack.document import merge_document, read_document, write_document
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError

RICH = LLMSpec(
    model_id="demo",
    name="häuptling 🦜",
    adapters=["./pirate:pirate"],
    sampling={"temperature": 1e-05},
    engine_args={"deep": {"list": [1, 2.5, None, "yes"]}},
)


@pytest.mark.parametrize("specs", [(RICH,), (RICH, LLMSpec(model_id="org/name"))])
def test_what_is_written_is_read_back(tmp_path: Path, specs: tuple[LLMSpec, ...]) -> None:
    path = tmp_path / "spec.json"
    path.write_text(write_document(specs), encoding="utf-8")
    assert merge_document(read_document(path), {}) == specs


def test_yaml_serves_as_well(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "# two models\nllms:\n- model_id: demo\n- {model_id: org/name, max_model_len: 512}\n"
    )
    assert merge_document(read_document(path), {}) == (
        LLMSpec(model_id="demo"),
        LLMSpec(model_id="org/name", max_model_len=512),
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("spec.json", "{", "spec.json is not JSON: line 1, column 2: Expecting"),
        ("spec.yaml", "a: b\nc: [", "spec.yaml is not YAML: line 2, column 5: expected"),
        ("spec.yaml", "a: b\n\tc: d", "spec.yaml is not YAML: line 2, column 1: found"),
        ("spec.json", "[]", "must hold a mapping"),
        ("spec.json", '{"llms": []}', "must be a list of specs"),
        ("spec.json", '{"llms": ["demo"]}', "must be a list of specs"),
        (
            "spec.json",
            '{"llms": [{"model_id": "demo"}], "dtype": "auto"}',
            "has llms and other keys",
        ),
        (
            "spec.json",
            '{"model_idd": "demo"}',
            "Unknown spec key 'model_idd'. Did you mean model_id",
        ),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[")) as error:
        merge_document(read_document(path), {})
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no spec.json"):
        read_document(tmp_path / "spec.json")


def test_the_environment_beats_the_baked_spec() -> None:
    (spec,) = merge_document(
        [{"model_id": "demo", "dtype": "float32", "max_model_len": 64}], {"dtype": "bfloat16"}
    )
    assert (spec.dtype, spec.max_model_len) == ("bfloat16", 64)


def test_a_variable_that_names_one_model_cannot_mean_two() -> None:
    baked = [{"model_id": "demo"}, {"model_id": "org/name"}]
    with pytest.raises(
        ConfigurationError, match="OPENLLM_MODEL_ID is set, but this service has 2 models"
    ):
        merge_document(baked, {"model_id": "other/name"})
    assert [spec.dtype for spec in merge_document(baked, {"dtype": "float16"})] == [
        "float16",
        "float16",
    ]


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Two models are called 'demo'"):
        merge_document([{"model_id": "demo"}, {"model_id": "org/x", "name": "demo"}], {})
