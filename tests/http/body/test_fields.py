"""JSON objects read strictly: whatever is sent, an error of ours names the field, quickly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.http.body.fields import Fields, check_depth, decode_object, required

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": Infinity}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "out of range"),
        (b"[1]", "not an array"),
        (b'"text"', "not a string"),
        (b"null", "not null"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64"),
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        decode_object(body, 64)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.dictionaries(st.text(), JSON))
def test_every_json_object_is_decoded_as_json_does(value: dict[str, Any]) -> None:
    assert decode_object(json.dumps(value).encode(), 64) == value


@given(st.integers(1, 40), st.integers(1, 40))
def test_depth_counts_containers(depth: int, limit: int) -> None:
    value: Any = 1
    for at in range(depth):
        value = [value] if at % 2 else {"a": value, "b": 2}
    if depth <= limit:
        check_depth(value, limit)
    else:
        with pytest.raises(InvalidRequest, match="nested"):
            check_depth(value, limit)


READERS = {
    "text": lambda fields: fields.text("x"),
    "flag": lambda fields: fields.flag("x"),
    "integer": lambda fields: fields.integer("x", 0, 10),
    "mapping": lambda fields: fields.mapping("x", most=2),
    "items": lambda fields: fields.items("x", most=2),
    "texts": lambda fields: fields.texts("x", most=2),
    "choice": lambda fields: fields.choice("x", "a", "b"),
    "object": lambda fields: fields.object("x"),
}


@given(st.sampled_from(sorted(READERS)), JSON)
def test_a_reader_gives_its_type_or_names_the_field(reader: str, value: Any) -> None:
    refusal, found = None, None
    try:
        found = READERS[reader](Fields({"x": value}, "outer"))
    except InvalidRequest as error:
        refusal = error
    if refusal is not None:
        assert refusal.param == "outer.x"
        assert "outer.x" in str(refusal)
    elif value is not None and reader not in ("object", "texts"):
        assert type(found) is type(value)
        assert found == value


@pytest.mark.parametrize("value", [True, 1.0, "1", 2**63, -1, 11])
def test_integers_are_whole_numbers_within_bounds(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^x: must be"):
        Fields({"x": value}).integer("x", 0, 10)


def test_nul_characters_are_refused() -> None:
    for read in (lambda fields: fields.text("x"), lambda fields: fields.texts("x", most=4)):
        with pytest.raises(InvalidRequest, match="NUL"):
            read(Fields({"x": "a\0b"}))


def test_an_unknown_field_is_refused_with_the_near_misses() -> None:
    fields = Fields({"temprature": 1})
    fields.raw("temperature")
    with pytest.raises(InvalidRequest, match="Did you mean temperature") as caught:
        fields.close()
    assert caught.value.param == "temprature"


def test_an_unknown_field_with_an_endless_name_has_a_short_error() -> None:
    fields = Fields({"x" * 100_000: 1})
    fields.raw("model")
    with pytest.raises(InvalidRequest) as caught:
        fields.close()
    assert len(str(caught.value)) < 200


def test_refused_fields_may_say_what_changes_nothing() -> None:
    Fields({"a": None}).refuse("a", "hint")
    Fields({"a": 1}).refuse("a", "hint", 1)
    with pytest.raises(UnsupportedFeature, match=r"a is not supported\. hint"):
        Fields({"a": True}).refuse("a", "hint", 1)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"outer\.x is required"):
        required(Fields({}, "outer"), "x", None)
