"""Vectors of length 1 in the types that Cohere's clients ask for: numbers, 32-bit floats as
base64, one byte or one bit for each dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openllm.protocols.openai.embeddings import packed

FLOAT = "float"
_MOST = 127  # of a signed byte, which stands for 1


def int8(vector: Sequence[float]) -> list[int]:
    """Each value, which is in [-1, 1], as a whole number in [-127, 127]: 127 times it, rounded."""
    return [max(-_MOST, min(_MOST, round(value * _MOST))) for value in vector]


def uint8(vector: Sequence[float]) -> list[int]:
    """`int8` of each value, and 128 more: whole numbers in [1, 255]."""
    return [value + 128 for value in int8(vector)]


def ubinary(vector: Sequence[float]) -> list[int]:
    """One bit for each value, 1 where it is above 0; eight to a byte, the first one its highest
    bit. The last byte is filled with 0.
    """
    bits = [value > 0 for value in vector]
    bits += [False] * (-len(bits) % 8)
    return [
        sum(bit << (7 - place) for place, bit in enumerate(bits[at : at + 8]))
        for at in range(0, len(bits), 8)
    ]


def binary(vector: Sequence[float]) -> list[int]:
    """`ubinary` of it, each byte 128 less: whole numbers in [-128, 127]."""
    return [byte - 128 for byte in ubinary(vector)]


ENCODERS: Mapping[str, Callable[[list[float]], Any]] = {
    FLOAT: list,
    "base64": packed,
    "int8": int8,
    "uint8": uint8,
    "binary": binary,
    "ubinary": ubinary,
}
