"""Sizes are read and written in one way, whoever prints or reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.config.sizes import parse_size, readable_count, readable_size, write_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**30, "1.0 GiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert readable_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0KiB"),
        (1, "1KiB"),
        (64 * 2**10, "64KiB"),
        (32 * 2**20, "32MiB"),
        (7 * 2**30, "7168MiB"),
        (2**30 * 8 + 1, "9GiB"),
        (2**60, "1073741824GiB"),
        (8191 * 1024 + 1, "8MiB"),
    ],
)
def test_sizes_are_written_for_options(size: int, text: str) -> None:
    assert write_size(size) == text


@given(st.integers(0, 2**59))
def test_what_is_written_is_read_back_and_never_less(size: int) -> None:
    back = parse_size(write_size(size))
    assert size <= back <= size + max(1024, size // 8)
    assert write_size(back) == write_size(size)
    assert readable_size(parse_size(readable_size(size))) == readable_size(size)


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5.5", "4Gi", "4 gib", "32 Mio", "1e9", "1 2"])
def test_what_is_no_size_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write 1048576, 64MiB or 2GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""),
        (7, "7"),
        (134_515_008, "135M"),
        (999_700_000, "1B"),
        (7_615_616_512, "7.62B"),
        (1.04e12, "1.04T"),
    ],
)
def test_a_count_is_written_as_the_names_of_models_have_it(count: float, text: str) -> None:
    assert readable_count(count) == text
