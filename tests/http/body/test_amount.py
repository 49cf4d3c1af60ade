"""What a JSON body holds is counted exactly, however it is cut, whatever stands in its texts."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openllm.http.body.amount import Amount

CHARACTERS = st.text('a",:[]{}\\\n\u00e40.e', max_size=8)
NUMBERS = st.integers(-(10**150), 10**150) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | CHARACTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CHARACTERS, inner, max_size=4),
    max_leaves=12,
)


def amount(value: Any, literal: list[str]) -> int:
    """Commas, 8 for each container, fraction and exponent, 16 for each key, 2,048 for 64 digits;
    what stands outside of strings goes to `literal`.
    """
    if isinstance(value, list):
        return 8 + max(len(value) - 1, 0) + sum(amount(one, literal) for one in value)
    if isinstance(value, dict):
        inner = sum(amount(one, literal) for one in value.values())
        return 8 + max(len(value) - 1, 0) + 16 * len(value) + inner
    if isinstance(value, str):
        return 0
    literal.append(text := json.dumps(value))
    runs = re.split("[^0-9]", text)
    return 8 * len(re.findall("[.e]", text)) + 2048 * sum(len(run) // 64 for run in runs)


@given(VALUES, st.integers(1, 9), st.booleans())
def test_counts_values_and_no_texts(value: Any, size: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    counted = Amount()
    for at in range(0, len(body), size):
        counted.add(body[at : at + size])
    literal: list[str] = []
    expected = amount(value, literal) + body.count(b"\\") + len("".join(literal)) // 4
    assert counted.total == expected
    assert Amount().add(body) == expected
