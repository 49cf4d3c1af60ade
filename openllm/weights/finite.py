"""Whether the values in a safetensors file are numbers: one that is none spoils a whole batch."""

from __future__ import annotations

from pathlib import Path

from openllm.errors import WeightsError
from openllm.weights.checkpoint import read_header

# The bits of the exponent, all of which are set in what is infinite or no number, by the type's
# name in the file: IEEE 754's, and bfloat16's, which are float32's upper half.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
_AT_ONCE = 2**22  # values


def check_finite(path: Path) -> None:
    """Read all values of a safetensors file; types other than floats of 16 to 64 bits are passed
    over. Needs numpy, which every engine brings.

    Errors: WeightsError that names the first tensor with NaN or an infinite value.
    """
    import numpy as np

    for name, info in read_header(path).items():
        kind, exponent = _EXPONENTS.get(info.dtype, (None, 0))
        begin, end = info.span
        if kind is None or begin == end:
            continue
        width = np.dtype(kind).itemsize
        bits = np.memmap(path, kind, "r", begin, ((end - begin) // width,))
        for at in range(0, len(bits), _AT_ONCE):
            part = bits[at : at + _AT_ONCE]
            if bool(((part & part.dtype.type(exponent)) == exponent).any()):
                raise WeightsError(
                    f"{path} has NaN or infinite values in {name}.",
                    hint="Its training has failed; train it again at a lower learning rate.",
                )
