"""JSON schemas are kept or refused: values drawn from the grammars follow their schemas, values
that follow them are allowed, and a refusal names its keyword.
"""

from __future__ import annotations

import copy
import json
import random
import time
from decimal import Decimal, localcontext
from typing import Any

import pytest

from openllm.answer.schema.writing import json_grammar
from openllm.errors import InvalidRequest
from tests.answer.schema.corpus import corpus
from tests.answer.schema.samples import Sample
from tests.answer.schema.sampling import LONGEST

pytest.importorskip("xgrammar")
jsonschema = pytest.importorskip("jsonschema")

CORPUS = corpus()
DRAWS = 1  # from each grammar


@pytest.fixture(scope="module")
def sampler() -> Any:
    from tests.answer.schema.sampling import Sampler

    return Sampler()


def validator(schema: Any) -> Any:
    """A validator that counts in decimals, and knows OpenAPI's `nullable` and draft 4's bounds."""
    exact = json.loads(json.dumps(modern(schema)), parse_float=Decimal)
    draft = jsonschema.Draft202012Validator
    if "additionalItems" in json.dumps(schema):
        draft = jsonschema.Draft201909Validator
    return draft(exact, format_checker=draft.FORMAT_CHECKER)


def modern(schema: Any) -> Any:
    """A schema in today's words."""
    if isinstance(schema, list):
        return [modern(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: modern(own) for name, own in copy.copy(schema).items()}
    if found.get("nullable") is True:
        found["type"] = [found["type"], "null"]
    if found.get("exclusiveMinimum") is True:
        found["exclusiveMinimum"] = found.pop("minimum")
    return found


def allows(grammar: str, value: Any) -> bool:
    from xgrammar import Grammar
    from xgrammar.testing import _is_grammar_accept_string

    text = json.dumps(value, ensure_ascii=False)
    return bool(_is_grammar_accept_string(Grammar.from_ebnf(grammar), text))


def named(samples: list[Sample]) -> Any:
    return pytest.mark.parametrize("sample", samples, ids=lambda sample: sample.name)


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 300
    assert len({sample.name for sample in CORPUS}) == len(CORPUS)


def drawn(sampler: Any, sample: Sample, draws: int, seed: int = 0) -> tuple[int, list[str]]:
    """How many texts ended, and those of them that do not follow the schema."""
    compiled = sampler.compiled(json_grammar(json.dumps(sample.schema)))
    check, draw = validator(sample.schema), random.Random(f"{seed} {sample.name}")
    texts = [sampler.text(compiled, draw) for _ in range(draws)]
    ended = [text for text in texts if text is not None]
    wrong = [text for text in ended if not follows(check, text)]
    return len(ended), wrong


def follows(check: Any, text: str) -> bool:
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return False
    with localcontext(prec=LONGEST):
        return bool(check.is_valid(value))


def test_what_a_grammar_gives_follows_its_schema(sampler: Any) -> None:
    ended = 0
    for sample in CORPUS:
        if sample.refused is None:
            count, wrong = drawn(sampler, sample, DRAWS)
            assert wrong == [], sample.name
            ended += count
    assert ended >= DRAWS * sum(sample.refused is None for sample in CORPUS) * 0.8


@named([sample for sample in CORPUS if sample.refused is not None])
def test_a_refusal_names_its_keyword(sample: Sample) -> None:
    with pytest.raises(InvalidRequest) as caught:
        json_grammar(json.dumps(sample.schema))
    assert sample.refused is not None
    assert sample.refused in str(caught.value)
    assert caught.value.param == "structure"
    if sample.refused != "no value":
        assert "#" in str(caught.value)


@named([sample for sample in CORPUS if sample.valid or sample.invalid])
def test_a_grammar_allows_what_follows_and_nothing_else(sample: Sample) -> None:
    grammar, check = json_grammar(json.dumps(sample.schema)), validator(sample.schema)
    assert [value for value in sample.valid if not follows(check, json.dumps(value))] == []
    assert [value for value in sample.valid if not allows(grammar, value)] == []
    assert [value for value in sample.invalid if allows(grammar, value)] == []


HOSTILE = {
    "deep": '{"properties":{"a":' * 3000 + "{}" + "}}" * 3000,
    "doubling": json.dumps(
        {"allOf": [{"anyOf": [{"required": [f"{a}{b}"]} for b in "xy"]} for a in range(30)]}
    ),
    "wide": json.dumps({"enum": [[], *range(60_000)], "minItems": 1}),
    "pairs": json.dumps({"oneOf": [{"minimum": bound} for bound in range(200)]}),
    "pattern": json.dumps({"pattern": "(a|b|ab)*" * 60, "minLength": 4000}),
    "count": json.dumps({"pattern": "((a{90}){90}){90}|b", "minLength": 5}),
    "loop": '{"anyOf":[{"type":"string"},{"$ref":"#"}]}',
    "many": json.dumps({"properties": {f"p{n}": {"type": "string"} for n in range(30_000)}}),
    "huge": '{"minimum": 1e999999999}',
    "numbers": json.dumps({"type": "integer", "minimum": int("9" * 3000)}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_costs_too_much_is_refused_soon(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidRequest):
        json_grammar(text)
    assert time.process_time() - begun < 2.0


def test_schemas_within_each_other_without_end_are_one() -> None:
    deep = '{"allOf":[' * 400 + '{"const":1}' + "]}" * 400
    assert allows(json_grammar(deep), 1)
    twice = '{"not":' * 400 + '{"type":"string"}' + "}" * 400
    assert not allows(json_grammar(twice), 1)


def test_a_schema_that_is_no_json_is_refused() -> None:
    for text in ("{", "3", '"a"', "[]", '{"minimum": NaN}'):
        with pytest.raises(InvalidRequest, match="schema"):
            json_grammar(text)
