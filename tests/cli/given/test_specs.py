"""What a command line of `start` or `build` comes to, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from openllm.bento.pack.document import merge_document
from openllm.cli import cli
from openllm.config.settings import spec_layer
from openllm.config.spec import IDENTITY, LLMSpec
from openllm.errors import ConfigurationError
from tests.cli.conftest import Run


def _spec(run: Run, *args: str, **variables: str) -> Any:
    result = run(*args, "--print-spec", **variables)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", ["start", "build"])
def test_without_a_model_it_is_the_demo(run: Run, command: str) -> None:
    assert _spec(run, command) == {"model_id": "demo", "family": "demo"}


@pytest.mark.parametrize("command", ["start", "build"])
def test_a_backend_is_called_by_its_name_however_it_is_spelled(
    run: Run, command: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_id: demo\nbackend: pt\n")
    assert _spec(run, command, "--backend", "pt")["backend"] == "pytorch"
    assert _spec(run, command, OPENLLM_BACKEND="torch")["backend"] == "pytorch"
    assert _spec(run, command, "-f", str(recipe))["backend"] == "pytorch"
    assert _spec(run, command, "llama", "--backend", "jax")["backend"] == "flax"


def _recipe(path: Path, data: Any) -> str:
    file = path / "recipe.yaml"
    file.write_text(json.dumps(data))  # JSON is YAML
    return str(file)


_FIELDS = {
    "name": st.sampled_from(["a", "b"]),
    "dtype": st.sampled_from(["float16", "float32"]),
    "seed": st.integers(0, 9),
    "max_model_len": st.integers(1, 9),
    "enforce_eager": st.booleans(),
    "kv_cache_memory": st.integers(1, 9),
    "engine_args": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 9), min_size=1),
}
_LAYER = st.fixed_dictionaries({}, optional=_FIELDS)


def _as_options(layer: dict[str, Any]) -> list[str]:
    args: list[str] = []
    for field, value in layer.items():
        name = field.replace("_", "-")
        if isinstance(value, bool):
            args.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, dict):
            args += [
                part for key, item in value.items() for part in ("--engine-arg", f"{key}={item}")
            ]
        else:
            args += [f"--{name}", str(value)]
    return args


def _as_variables(layer: dict[str, Any]) -> dict[str, str]:
    return {
        f"OPENLLM_{field.upper()}": value if isinstance(value, str) else json.dumps(value)
        for field, value in layer.items()
    }


@given(_LAYER, _LAYER, _LAYER)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_command_line_beats_environment_beats_recipe(
    environment: dict[str, str],
    tmp_path: Path,
    explicit: dict[str, Any],
    variables: dict[str, Any],
    recipe: dict[str, Any],
) -> None:
    file = _recipe(tmp_path, {"model_id": "demo", **recipe})
    args = ["start", "-f", file, "--print-spec", *_as_options(explicit)]
    result = CliRunner().invoke(cli, args, env=_as_variables(variables))
    assert result.exit_code == 0, result.stderr
    got = LLMSpec.from_json(result.stdout)
    for field in _FIELDS:
        said = [layer[field] for layer in (explicit, variables, recipe) if field in layer]
        if field == "engine_args":
            assert got.engine_args == {
                key: value for layer in reversed(said) for key, value in layer.items()
            }
        else:
            assert getattr(got, field) == (
                said[0] if said else attrs.fields_dict(LLMSpec)[field].default
            )


def test_a_recipe_of_several_models_takes_what_applies_to_each(run: Run, tmp_path: Path) -> None:
    file = _recipe(
        tmp_path,
        {"llms": [{"model_id": "demo"}, {"model_id": "minilm-dir", "task": "embed", "name": "m"}]},
    )
    assert _spec(run, "start", "-f", file, "--backend", "echo", OPENLLM_DTYPE="float32") == [
        {"model_id": "demo", "family": "demo", "backend": "echo", "dtype": "float32"},
        {
            "model_id": "minilm-dir",
            "name": "m",
            "task": "embed",
            "backend": "echo",
            "dtype": "float32",
        },
    ]


@pytest.mark.parametrize(
    ("recipe", "args", "variables", "says"),
    [
        (
            [{"model_id": "a/b"}, {"model_id": "c/d"}],
            ["--name", "x"],
            {},
            "--name cannot apply to 2 models.",
        ),
        (
            [{"model_id": "a/b"}, {"model_id": "c/d"}],
            [],
            {"OPENLLM_MODEL_ID": "x"},
            "OPENLLM_MODEL_ID is set, but this service has 2 models.",
        ),
        ([{"model_id": "a/b"}, {"model_id": "a/b"}], [], {}, "Two models are called 'a/b'."),
        ([{"model_id": "a/b", "modle": 1}], [], {}, "Unknown spec key 'modle'."),
        ([{"model_id": 5}], [], {}, "model_id must be a text, got 5."),
        ([], [], {}, "llms must be a list of specs"),
        ([{"model_id": "a/b"}], ["llama"], {}, "MODEL and --file exclude each other."),
    ],
)
def test_a_recipe_that_cannot_work_is_one_line(
    run: Run, tmp_path: Path, recipe: Any, args: list[str], variables: dict[str, str], says: str
) -> None:
    result = run("start", "-f", _recipe(tmp_path, {"llms": recipe}), *args, **variables)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert says in result.stderr


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        ("model_id: demo\nbackendd: echo\n", [], "r.yaml, line 2, column 1: Unknown spec key 'ba"),
        (
            "llms:\n- model_id: demo\n- {model_id: a/b, max_model_len: many}\n",
            [],
            "r.yaml, line 3, column 19: max_model_len must be a whole number, got 'many'.",
        ),
        ("model_id: demo\ndtype: 5\n", [], "r.yaml, line 2, column 1: dtype must be a text"),
        ("model_id: demo\nname: x\n", ["--task", "talk"], "'talk' is not one of"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_with_its_place(
    run: Run, tmp_path: Path, text: str, args: list[str], says: str
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    result = run("start", "-f", str(path), *args, "--print-spec")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert says in result.stderr


@pytest.mark.parametrize("field", IDENTITY)
def test_what_one_model_is_no_variable_says_for_two_whichever_way_they_are_served(
    run: Run, tmp_path: Path, field: str
) -> None:
    """`start` refused OPENLLM_TASK and OPENLLM_CHAT_TEMPLATE, `bentoml serve` obeyed them."""
    name = f"OPENLLM_{field.upper()}"
    llms = [{"model_id": "a/b"}, {"model_id": "c/d"}]
    with pytest.raises(ConfigurationError) as by_bento:  # what a built service does with them
        merge_document(llms, spec_layer({name: "embed"}))
    result = run("start", "-f", _recipe(tmp_path, {"llms": llms}), **{name: "embed"})
    assert (result.exit_code, result.stderr.strip()) == (2, f"Error: {by_bento.value}")
    assert f"{name} is set, but this service has 2 models." in result.stderr


def test_a_recipe_that_comes_along_is_found_by_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text("# A tiny model\nmodel_id: demo\nseed: 7\n")
    monkeypatch.setattr("openllm.config.recipes.recipe_directory", lambda: tmp_path)
    assert _spec(run, "build", "tiny", "--backend", "echo") == {
        "model_id": "demo",
        "family": "demo",
        "seed": 7,
        "backend": "echo",
    }
    assert json.loads(run("recipes", "-o", "json").stdout) == [
        {
            "name": "tiny",
            "title": "A tiny model",
            "specs": [{"model_id": "demo", "seed": 7}],
            "resources": {},
        }
    ]
    assert "tiny    demo    -     A tiny model" in run("recipes").stdout
