"""Sizes in bytes, as people read them, write them and have them read back; and large counts."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LETTERS = "KMGT"
# What a unit stands for: 1024 by powers with an i, 1000 without.
UNITS: Mapping[str, int] = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate(_LETTERS, 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate(_LETTERS, 1)},
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})")
_CLOSE = 8  # below so many of the next unit, the smaller one is written: 7168MiB, 8GiB


def parse_size(text: str) -> int:
    """The bytes that `1048576`, `64MiB`, `1.5 GiB` or `2GB` say. Errors: ValueError that says how
    to write one.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = UNITS.get(match[2] or "B") if match else None
    if match is None or unit is None:
        raise ValueError("is not a size in bytes: write 1048576, 64MiB or 2GB")
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def readable_size(size: float) -> str:
    """Bytes for people, rounded to a tenth of the largest unit: 1536 is 1.5 KiB."""
    if size < 1024:
        return f"{size:.0f} B"
    # 1023.95 and more would be written 1024.0
    unit = next((letter for letter in _LETTERS if size < 1023.95 * UNITS[f"{letter}iB"]), "T")
    return f"{size / UNITS[f'{unit}iB']:.1f} {unit}iB"


def readable_count(count: float) -> str:
    """A count as the names of models have it, to three digits: 7.6B, 135M; "" for 0."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= 0.9995 * size:  # less would be written 1e+03 of the smaller unit
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}" if count else ""


def write_size(size: int) -> str:
    """Bytes as `parse_size` reads them back: in whole KiB, MiB or GiB, rounded up."""
    counts = {letter: -(-size // UNITS[f"{letter}iB"]) for letter in "KMG"}
    unit = next((letter for letter in "KM" if counts[letter] < _CLOSE * 1024), "G")
    return f"{counts[unit]}{unit}iB"
