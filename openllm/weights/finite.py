"""Whether what is in an adapter's file, and what an engine makes of it, are numbers: one that is
none spoils a whole batch.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from openllm.errors import WeightsError
from openllm.weights.adapters import CheckedAdapter
from openllm.weights.checkpoint import TensorInfo, read_header

# An unsigned integer of each type's width, by the type's name in the file, and how far its bits are
# from those of a float of numpy's: bfloat16 is the upper half of a float32.
_TYPES = {"F64": ("<u8", "<f8", 0), "F32": ("<u4", "<f4", 0), "F16": ("<u2", "<f2", 0)}
_TYPES["BF16"] = ("<u2", "<f4", 16)
_LARGEST = float(np.finfo(np.float32).max)  # also bfloat16's, but for its last digits
_AGAIN = "Its training has failed; train it again at a lower learning rate."
_AT_ONCE = 2**22  # values


def check_values(adapter: CheckedAdapter) -> None:
    """Read all values of an adapter's file.

    Errors: those of `check_finite`; WeightsError that names the first layer whose two matrices'
    product, scaled, may be more than a float of 32 bits can be.
    """
    largest = check_finite(adapter.weights)
    for module, layer in adapter.layers.items():
        down, up = largest[layer.down], largest[layer.up]
        if abs(layer.scale) * layer.rank * down * up > _LARGEST:
            raise WeightsError(
                f"{adapter.weights} multiplies values of {down:.3g} by {up:.3g} for {module}, which"
                " is more than can be computed.",
                hint=_AGAIN,
            )


def check_finite(path: Path) -> dict[str, float]:
    """The largest magnitude of each tensor in a safetensors file, all values of which are read;
    types other than floats of 16 to 64 bits are passed over, as 0.

    Errors: WeightsError that names the first tensor with NaN or an infinite value.
    """
    largest = {name: _largest(path, info) for name, info in read_header(path).items()}
    for name, most in largest.items():
        if not math.isfinite(most):
            raise WeightsError(f"{path} has NaN or infinite values in {name}.", hint=_AGAIN)
    return largest


def _largest(path: Path, info: TensorInfo) -> float:
    """The largest magnitude in a tensor; infinite, or NaN, where any value is."""
    begin, end = info.span
    if info.dtype not in _TYPES or begin == end:
        return 0.0
    kind, as_float, shift = _TYPES[info.dtype]
    width = np.dtype(kind).itemsize
    bits = np.memmap(path, kind, "r", begin, ((end - begin) // width,))
    one = bits.dtype.type(1)
    magnitude = ~(one << bits.dtype.type(8 * width - 1))  # all bits but the sign
    most = max(
        # floats without their signs are in the order of their bits, NaN above all
        int((bits[at : at + _AT_ONCE] & magnitude).max())
        for at in range(0, len(bits), _AT_ONCE)
    )
    return float(np.array(most << shift, np.dtype(as_float.replace("f", "u"))).view(as_float))
