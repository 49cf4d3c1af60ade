"""From our SamplingParams to vLLM's, and from its outputs to deltas."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from openllm.backends.vllm.deltas import FAILED, Wish
from openllm.backends.vllm.params import sampling_arguments, sampling_params, structure_arguments
from openllm.backends.vllm.structure import compacted
from openllm.errors import InvalidRequest
from openllm.types import SamplingParams, Structure, StructureKind, TokenDelta, TokenLogprob

ALL = SamplingParams(
    temperature=0.7,
    top_p=0.9,
    top_k=40,
    min_p=0.05,
    repetition_penalty=1.1,
    presence_penalty=0.5,
    frequency_penalty=-0.5,
    logit_bias={5: -2.0},
    seed=3,
    max_tokens=9,
    min_tokens=2,
    stop=("END",),
    stop_token_ids=(7, 8),
    ignore_eos=True,
    n=3,
    logprobs=4,
    prompt_logprobs=1,
)


def test_every_parameter_is_carried_over_but_the_text_s() -> None:
    made = sampling_arguments(ALL)
    for name in (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "seed",
        "n",
    ):
        assert made[name] == getattr(ALL, name)
    for name in (
        "frequency_penalty",
        "max_tokens",
        "min_tokens",
        "ignore_eos",
        "logprobs",
        "prompt_logprobs",
    ):
        assert made[name] == getattr(ALL, name)
    assert made["logit_bias"] == {5: -2.0}
    assert made["stop_token_ids"] == [7, 8]
    assert made["detokenize"] is False
    assert "stop" not in made


def test_what_vllm_does_not_take_is_put_another_way() -> None:
    assert sampling_arguments(SamplingParams(top_k=-1))["top_k"] == 0
    assert sampling_arguments(SamplingParams())["logit_bias"] is None
    assert (
        sampling_arguments(SamplingParams(temperature=0, n=4))["n"] == 1
    )  # greedy choices are all the same


@pytest.mark.parametrize(
    ("structure", "made"),
    [
        (Structure(StructureKind.REGEX, "[a-c]+"), {"regex": "[a-c]+"}),
        (Structure(StructureKind.CHOICE, '["yes", "no"]'), {"choice": ["yes", "no"]}),
        (Structure(StructureKind.GRAMMAR, 'root ::= "a"'), {"grammar": 'root ::= "a"'}),
        (
            Structure(StructureKind.JSON_SCHEMA, '{"type": "object"}'),
            {"json": '{"type": "object"}'},
        ),
        (Structure(StructureKind.JSON_OBJECT), {"json_object": True}),
    ],
)
def test_structures(structure: Structure, made: dict[str, Any]) -> None:
    assert structure_arguments(structure) == {**made, "disable_any_whitespace": True}


@pytest.mark.parametrize("text", ["[", "{}", "[]", "[1]", '[""]'])
def test_bad_choices(text: str) -> None:
    with pytest.raises(InvalidRequest, match="choices"):
        structure_arguments(Structure(StructureKind.CHOICE, text))


@pytest.mark.vllm
def test_vllm_takes_them() -> None:
    made = sampling_params(ALL)
    assert made.output_kind.name == "DELTA"
    assert (made.n, made.seed, made.stop_token_ids, made.logit_bias) == (3, 3, [7, 8], {5: -2.0})
    structured = sampling_params(SamplingParams(structure=Structure(StructureKind.REGEX, "a+")))
    assert structured.structured_outputs.regex == "a+"


@pytest.mark.vllm
def test_json_is_compact() -> None:
    import xgrammar

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    made = compacted(Structure(StructureKind.JSON_SCHEMA, json.dumps(schema)))
    assert made.kind is StructureKind.GRAMMAR
    xgrammar.Grammar.from_ebnf(made.value)
    assert compacted(Structure(StructureKind.JSON_OBJECT)).kind is StructureKind.GRAMMAR
    regex = Structure(StructureKind.REGEX, "a")
    assert compacted(regex) is regex


@pytest.mark.vllm
@pytest.mark.parametrize("text", ["{", "3", '{"type": "nothing"}', '{"type": 5}'])
def test_a_bad_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="schema") as caught:
        compacted(Structure(StructureKind.JSON_SCHEMA, text))
    assert "/project" not in str(caught.value)


def entry(logprob: float, rank: int) -> SimpleNamespace:
    return SimpleNamespace(logprob=logprob, rank=rank)


def choice(**fields: Any) -> SimpleNamespace:
    blank = {
        "index": 0,
        "token_ids": [4],
        "finish_reason": None,
        "stop_reason": None,
        "logprobs": None,
    }
    return SimpleNamespace(**{**blank, **fields})


def output(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{"prompt_token_ids": [1, 2], "prompt_logprobs": None, "num_cached_tokens": 0, **fields}
    )


def test_outputs_become_deltas() -> None:
    wish = Wish.of(SamplingParams(logprobs=2, stop_token_ids=(9,)))
    logprobs = [{4: entry(-3.0, 5), 6: entry(-0.1, 1), 7: entry(-2.0, 2)}]
    delta = wish.delta(output(num_cached_tokens=16), choice(index=1, logprobs=logprobs))
    assert delta == TokenDelta(
        [4], 1, logprobs=[TokenLogprob(4, -3.0, 5, ((6, -0.1), (7, -2.0)))], cached_tokens=16
    )


def test_prompt_logprobs_come_once_with_the_first_choice() -> None:
    wish = Wish.of(SamplingParams(prompt_logprobs=1))
    found = output(prompt_logprobs=[None, {2: entry(-1.5, 2), 8: entry(-0.5, 1)}])
    assert wish.delta(found, choice()).prompt_logprobs == [
        None,
        TokenLogprob(2, -1.5, 2, ((8, -0.5),)),
    ]
    assert wish.delta(found, choice(index=1)).prompt_logprobs is None
    assert wish.delta(output(prompt_logprobs=[]), choice()).prompt_logprobs is None


@pytest.mark.parametrize(
    ("fields", "reason", "stop", "error"),
    [
        ({"finish_reason": "stop"}, "stop", None, None),
        ({"finish_reason": "stop", "stop_reason": 9}, "stop", 9, None),
        (
            {"finish_reason": "stop", "stop_reason": 2},
            "stop",
            None,
            None,
        ),  # another end of sequence, not asked for
        ({"finish_reason": "length"}, "length", None, None),
        ({"finish_reason": "abort", "token_ids": []}, "cancelled", None, None),
        ({"finish_reason": "repetition"}, "stop", None, None),
        ({"finish_reason": "error"}, "error", None, FAILED),
        ({"finish_reason": "brand new"}, "error", None, FAILED),
    ],
)
def test_the_ways_an_answer_ends(
    fields: dict[str, Any], reason: str, stop: int | None, error: str | None
) -> None:
    delta = Wish((9,)).delta(output(), choice(**fields))
    assert (delta.finish_reason, delta.stop_reason, delta.error) == (reason, stop, error)
