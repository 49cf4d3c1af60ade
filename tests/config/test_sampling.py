"""Defaults, overrides and ranges of sampling parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.config.sampling import build_params, model_defaults
from openllm.errors import InvalidRequest
from openllm.types import SamplingParams, Structure, StructureKind

LAYER = st.dictionaries(
    st.sampled_from(["temperature", "top_p", "min_p"]),
    st.one_of(st.none(), st.floats(0.1, 1.0)),
    max_size=3,
)


@given(layers=st.lists(LAYER, min_size=1, max_size=4))
def test_the_strongest_layer_that_says_something_wins(
    layers: list[dict[str, float | None]],
) -> None:
    params = build_params(*layers)
    for name, default in (("temperature", 1.0), ("top_p", 1.0), ("min_p", 0.0)):
        said = [layer[name] for layer in layers if layer.get(name) is not None]
        assert getattr(params, name) == (said[0] if said else default)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.5),
        ("min_p", -1),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("inf")),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("top_k", -2),
        ("top_k", 1.5),
        ("seed", 2**63),
        ("seed", "1"),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("n", 0),
        ("logprobs", -1),
        ("stop", 5),
        ("stop", [""]),
        ("stop", ["a", 1]),
        ("stop_token_ids", [1.5]),
        ("stop_token_ids", "12"),
        ("logit_bias", [1]),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": float("nan")}),
        ("ignore_eos", 1),
        ("structure", {"kind": "regex"}),
        ("tempreature", 1),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build_params({name: value})
    assert caught.value.param == name
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_right_is_kept() -> None:
    structure = Structure(StructureKind.REGEX, "a+")
    params = build_params(
        {
            "temperature": 2,
            "stop": "x",
            "logit_bias": {"3": -100, 4: 1.5},
            "seed": -1,
            "top_k": -1,
            "max_new_tokens": 7,
            "structure": structure,
        }
    )
    expected = SamplingParams(
        temperature=2.0,
        stop=("x",),
        logit_bias={3: -100.0, 4: 1.5},
        seed=-1,
        top_k=-1,
        max_tokens=7,
        structure=structure,
    )
    assert params == expected


def test_min_tokens_beyond_max_tokens_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="min_tokens"):
        build_params({"min_tokens": 5, "max_tokens": 4})


def test_a_model_says_how_it_is_sampled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert model_defaults(tmp_path) == {}
    said = {
        "temperature": 0.3,
        "top_p": None,
        "top_k": 5,
        "min_p": 7.0,
        "eos_token_id": 2,
        "max_new_tokens": 9,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    assert model_defaults(tmp_path) == {"temperature": 0.3, "top_k": 5}
    assert "min_p" in caplog.text
    assert "Not followed of generation_config.json: max_new_tokens 9." in caplog.text
    for broken in ("{", "[1]", "\udcff"):
        (tmp_path / "generation_config.json").write_bytes(broken.encode("utf-8", "surrogateescape"))
        assert model_defaults(tmp_path) == {}


def test_what_a_model_says_of_generating_is_followed_or_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = {
        "do_sample": False,
        "temperature": 0.7,
        "max_length": 20,
        "no_repeat_ngram_size": 3,
        "suppress_tokens": [],
        "bad_words_ids": [[7]],
        "forced_eos_token_id": 2,
        "num_beams": 1,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(said))
    assert model_defaults(tmp_path) == {"temperature": 0.0}
    named = "bad_words_ids [[7]], forced_eos_token_id 2, no_repeat_ngram_size 3."
    assert [record.message.partition(": ")[2] for record in caplog.records] == [named]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "Did you mean temperature"),
        ("max_new_token", "Did you mean max_new_tokens"),
        ("zzz", "Known are allowed_token_ids, "),
    ],
)
def test_an_unknown_name_gets_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build_params({name: 1})
    assert f"Unknown sampling parameter {name!r}. {meant}" in str(caught.value)
