"""What a JSON body holds is counted exactly, however it is cut, whatever stands in its texts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openllm.http.body.amount import Amount

CHARACTERS = st.text('a",:[]{}\\\n\u00e4', max_size=8)
VALUES = st.recursive(
    st.none() | st.integers(0, 99) | CHARACTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CHARACTERS, inner, max_size=4),
    max_leaves=12,
)


def amount(value: Any) -> int:
    """Commas, 8 for each container, 16 for each key."""
    if isinstance(value, list):
        return 8 + max(len(value) - 1, 0) + sum(map(amount, value))
    if isinstance(value, dict):
        return 8 + max(len(value) - 1, 0) + 16 * len(value) + sum(map(amount, value.values()))
    return 0


@given(VALUES, st.integers(1, 9), st.booleans())
def test_counts_values_and_no_texts(value: Any, size: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    counted = Amount()
    for at in range(0, len(body), size):
        counted.add(body[at : at + size])
    assert counted.total == amount(value)
    assert Amount().add(body) == amount(value)
