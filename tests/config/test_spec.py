"""LLMSpec: a value that survives JSON, refuses nonsense in one line, and one rule of what overrides
what.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.config.spec import ROUTINGS, TASKS, UNREAD, AdapterSpec, LLMSpec, resolve_spec
from openllm.errors import ConfigurationError, OpenLLMError, UnsupportedCombination
from openllm.facts import backend_names

_WORD = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORD, inner, max_size=3),
    max_leaves=5,
)
_POSITIVE = st.integers(1, 2**40)
_ADAPTER = st.fixed_dictionaries({"name": _WORD, "source": _WORD}, optional={"revision": _WORD})
_BY_FIELD: Mapping[str, st.SearchStrategy[Any]] = {
    "backend": st.sampled_from(["vllm", None]),
    "task": st.just("generate"),
    "replicas": st.integers(1, 8),
    "routing": st.sampled_from(ROUTINGS),
    "distributed_executor": st.sampled_from(["mp", "ray"]),
    "gpu_memory_utilization": st.floats(0.01, 1),
    "adapters": st.lists(_ADAPTER, max_size=2, unique_by=lambda item: item["name"]),
    "aliases": st.sampled_from([["also called"], ["also called", "and this"]]),
    "sampling": st.fixed_dictionaries(
        {}, optional={"temperature": st.floats(0, 2), "top_k": st.integers(0, 99)}
    ),
    "engine_args": st.dictionaries(_WORD, _JSON, max_size=3),
    "template_kwargs": st.dictionaries(st.sampled_from(["effort", "lang"]), _JSON),
    "tool_format": st.sampled_from(["hermes", "glm45", None]),
    "reasoning_format": st.sampled_from(["think", UNREAD, None]),
}
_BY_TYPE: Mapping[str, st.SearchStrategy[Any]] = {
    "str": _WORD,
    "int": _POSITIVE,
    "bool": st.booleans(),
}
_STRATEGIES = {
    field.name: _BY_FIELD.get(
        field.name, _BY_TYPE.get(str(field.type).partition(" |")[0], st.nothing())
    )
    for field in attrs.fields(LLMSpec)
}
_LAYER = st.fixed_dictionaries(
    {}, optional={name: st.none() | value for name, value in _STRATEGIES.items()}
)


def _spec_dicts() -> st.SearchStrategy[dict[str, Any]]:
    rest = {name: value for name, value in _STRATEGIES.items() if name != "model_id"}
    return st.fixed_dictionaries({"model_id": _WORD}, optional=rest)


@given(_spec_dicts())
def test_json_and_back_is_the_same_value(data: dict[str, Any]) -> None:
    spec = LLMSpec.from_dict(data)
    assert LLMSpec.from_dict(spec.to_dict()) == spec
    assert LLMSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json()) == spec.to_dict()


@given(_LAYER, _LAYER, _LAYER, _LAYER)
def test_the_strongest_layer_that_says_something_decides(
    explicit: dict[str, Any],
    environment: dict[str, Any],
    baked: dict[str, Any],
    family: dict[str, Any],
) -> None:
    layers = [
        explicit,
        environment,
        baked,
        {**family, "model_id": family.get("model_id") or "base"},
    ]
    spec = resolve_spec(*layers)
    for field in attrs.fields(LLMSpec):
        said = [layer[field.name] for layer in layers if layer.get(field.name) is not None]
        got = getattr(spec, field.name)
        if not said:
            assert got == attrs.fields_dict(LLMSpec)[field.name].default or got in ({}, ())
        elif field.name in {"sampling", "engine_args", "template_kwargs"}:
            assert got == {key: value for layer in reversed(said) for key, value in layer.items()}
        elif field.name == "aliases":
            assert got == tuple(said[0])
        elif field.name == "adapters":
            assert [attrs.asdict(adapter) for adapter in got] == [
                {"revision": None, **item} for item in said[0]
            ]
        else:
            assert got == said[0]


@given(_LAYER, _LAYER)
def test_resolving_changes_no_layer_and_shares_nothing_with_it(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    second = {
        "model_id": "base",
        **{key: value for key, value in second.items() if value is not None},
    }
    before = json.dumps([first, second], sort_keys=True)
    resolve_spec(first, second)
    assert json.dumps([first, second], sort_keys=True) == before


@given(st.dictionaries(st.sampled_from([*_STRATEGIES, "typo"]), _JSON, max_size=6))
def test_any_json_object_is_a_spec_or_one_clear_line(data: dict[str, Any]) -> None:
    refusal = ""
    try:
        spec = LLMSpec.from_dict(data)
    except OpenLLMError as error:
        refusal = str(error)
    if refusal:
        assert refusal.endswith((".", "?"))
        assert "\n" not in refusal
    else:
        assert LLMSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "The spec has no model_id"),
        ({"model_id": ""}, "model_id is empty"),
        ({"model_id": "a\0b"}, "model_id 'a\\x00b' holds characters that no name has"),
        ({"model_id": "a\nb"}, "holds characters that no name has"),
        ({"model_id": 5}, "model_id must be a text, got 5"),
        ({"model_id": None}, "model_id must be a text, got None"),
        (
            {"model_id": "a", "max_model_length": 1},
            "Unknown spec key 'max_model_length'. Did you mean max_model_len",
        ),
        (
            {"model_id": "a", "max_model_len": "4096"},
            "max_model_len must be a whole number, got '4096'",
        ),
        (
            {"model_id": "a", "max_model_len": True},
            "max_model_len must be a whole number, got True",
        ),
        ({"model_id": "a", "max_model_len": 4096.5}, "max_model_len must be a whole number"),
        ({"model_id": "a", "max_model_len": 0}, "max_model_len must be greater than 0, got 0"),
        ({"model_id": "a", "max_queue": None}, "max_queue must be a whole number, got None"),
        ({"model_id": "a", "gpu_memory_utilization": 1.5}, "gpu_memory_utilization must be in"),
        (
            {"model_id": "a", "gpu_memory_utilization": float("nan")},
            "gpu_memory_utilization must be in",
        ),
        (
            {"model_id": "a", "trust_remote_code": 1},
            "trust_remote_code must be true or false, got 1",
        ),
        ({"model_id": "a", "trust_remote_code": "yes"}, "trust_remote_code must be true or false"),
        ({"model_id": "a", "backend": "vlm"}, "backend 'vlm' is not one of vllm, pytorch"),
        ({"model_id": "a", "task": "chat"}, "task 'chat' is not one of generate, embed"),
        (
            {"model_id": "a", "engine_args": [1]},
            "engine_args must be a mapping with text keys, got [1]",
        ),
        ({"model_id": "a", "engine_args": {1: 2}}, "engine_args must be a mapping with text keys"),
        (
            {"model_id": "a", "distributed_executor": "mpi"},
            "distributed_executor 'mpi' is not one of mp, ray",
        ),
        (
            {"model_id": "a", "sampling": {"temperature": float("nan")}},
            "sampling: temperature: must be in [0, 2]",
        ),
        (
            {"model_id": "a", "sampling": {"temprature": 1}},
            "sampling: Unknown sampling parameter 'temprature'. Did you mean temperature",
        ),
        ({"model_id": "a", "adapters": {"name": "b"}}, "adapters must be a list"),
        ({"model_id": "a", "adapters": "./a:b"}, "adapters must be a list"),
        ({"model_id": "a", "adapters": [1]}, "An adapter cannot be"),
        ({"model_id": "a", "adapters": [{"name": "b"}]}, "An adapter cannot be"),
        (
            {"model_id": "a", "adapters": [{"name": "b", "source": "c", "rank": 1}]},
            "An adapter cannot be",
        ),
        ({"model_id": "a", "adapters": [{"name": "", "source": "c"}]}, "An adapter cannot be"),
        ({"model_id": "a", "adapters": ["x:b", "y:b"]}, "Two adapters are named 'b'"),
        ({"model_id": "a", "tool_format": "hermse"}, "tool_format=hermse. Did you mean hermes?"),
        ({"model_id": "a", "tool_format": "none"}, "There is no tool_format=none."),
        ({"model_id": "a", "reasoning_format": "?"}, "There are command, "),
        (
            {"model_id": "a", "template_kwargs": {"tools": []}},
            "template_kwargs: tools is what the server itself gives a chat template. Leave it out.",
        ),
    ],
)
def test_what_cannot_be_a_spec_is_one_clear_error(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LLMSpec.from_dict(data)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '"a"', "\ud800"])
def test_text_that_is_no_json_object_is_one_clear_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="The spec"):
        LLMSpec.from_json(text)


def test_an_embedding_model_takes_no_adapters() -> None:
    with pytest.raises(UnsupportedCombination, match="takes no LoRA adapters"):
        LLMSpec(model_id="a", task="embed", adapters=["./b"])


def test_a_quantization_that_the_backend_lacks_is_refused_and_the_others_named() -> None:
    with pytest.raises(
        UnsupportedCombination, match=r"pytorch backend cannot do 'awq'\. It can do int8"
    ):
        LLMSpec(model_id="a", backend="pytorch", quantization="awq")
    with pytest.raises(
        UnsupportedCombination, match=r"flax backend cannot do 'int8'\. It has no quantization"
    ):
        LLMSpec(model_id="a", backend="flax", quantization="int8")
    assert LLMSpec(model_id="a", backend="vllm", quantization="awq").quantization == "awq"


@pytest.mark.parametrize(
    ("text", "name", "source", "revision"),
    [
        ("./adapters/pirate:pirate", "pirate", "./adapters/pirate", None),
        ("./adapters/pirate", "pirate", "./adapters/pirate", None),
        ("./adapters/pirate/", "pirate", "./adapters/pirate/", None),
        ("org/name@main:fr", "fr", "org/name", "main"),
        ("org/name@v1", "name", "org/name", "v1"),
        ("org/name", "name", "org/name", None),
        ("/srv/a@b/c", "c", "/srv/a@b/c", None),
        ("~/a", "a", "~/a", None),
        ("C:\\loras\\pirate", "pirate", "C:\\loras\\pirate", None),
        ("C:\\loras\\pirate:p", "p", "C:\\loras\\pirate", None),
        ("C:\\lo@ras\\pirate", "pirate", "C:\\lo@ras\\pirate", None),
        ("C:/loras/pirate:p", "p", "C:/loras/pirate", None),
    ],
)
def test_an_adapter_is_written_source_revision_name(
    text: str, name: str, source: str, revision: str | None
) -> None:
    assert AdapterSpec.parse(text) == AdapterSpec(name, source, revision)


@pytest.mark.parametrize("text", ["", ":", ":name", "/", "@main", "@main:fr"])
def test_an_adapter_without_source_or_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no adapter"):
        AdapterSpec.parse(text)


@pytest.mark.parametrize(
    ("model_id", "served"),
    [
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("./models/mine", "mine"),
        ("/srv/models/mine/", "mine"),
        ("~/mine", "mine"),
        ("C:\\models\\mine", "mine"),
        ("..\\mine", "mine"),
        ("demo", "demo"),
    ],
)
def test_requests_call_a_model_by_its_id_or_directory_name(model_id: str, served: str) -> None:
    assert LLMSpec(model_id=model_id).served_name == served
    assert LLMSpec(model_id=model_id, name="x").served_name == "x"


def test_every_backend_and_task_is_accepted() -> None:
    for backend, task in itertools.product(backend_names(), TASKS):
        assert (
            LLMSpec.from_dict({"model_id": "a", "backend": backend, "task": task}).backend
            == backend
        )


def test_specs_are_values_that_nobody_can_change() -> None:
    spec = LLMSpec(model_id="a", sampling={"top_k": 1}, adapters=["./b"])
    assert spec == LLMSpec(model_id="a", sampling={"top_k": 1}, adapters=["./b"])
    assert hash(spec) == hash(LLMSpec.from_json(spec.to_json()))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.model_id = "b"  # type: ignore[misc]  # what is tested: it is frozen
