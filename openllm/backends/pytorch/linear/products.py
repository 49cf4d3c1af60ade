"""Products of tokens with one matrix: the kinds there are, and which suits a device.

Each kind is made of a weight `[out, in]` and a bias `[out]` or None, keeps what it needs of them,
and maps rows `[rows, in]` to a new tensor `[rows, out]`.
"""

from __future__ import annotations

import platform
import warnings
from typing import Protocol

import torch

from openllm.errors import UnsupportedCombination

LEVELS = 127  # int8 weights are whole numbers up to it
# Of activations: a pair of products of 7 bits and 8 fits 16 bits, so that AVX2's instruction for
# them (vpmaddubsw) never saturates.
ACTIVATION_LEVELS = 63
SMALLEST = 1e-12  # of a scale: rows of zeros stay zeros


class Product(Protocol):
    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """`[rows, in]` -> `[rows, out]`, a tensor nobody else holds."""


class ProductKind(Protocol):
    def __call__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Product:
        """A product with `weight [out, in]`; it keeps no reference to what it does not need."""


class Plain:
    """The weight as it is."""

    step = 1

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(rows, self.weight, self.bias)


class Prepacked:
    """The weight in oneDNN's blocked order: read in one run, whatever the number of rows."""

    step = 16  # every new number of rows costs oneDNN a plan, so longer steps are padded to it

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.bias = None if bias is None else bias.detach()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self.weight, self.bias, "none", [], None
        )
        return out


class Int8:
    """Weights in int8 with a scale per output; each row is rounded by a scale of its own.

    Sums are of whole numbers, so a row's result does not depend on the rows beside it. Source:
    Dettmers et al., "LLM.int8()", 2022, section 2.1 (vector-wise quantization); the kernel is
    fbgemm's.
    """

    step = 1

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        codes, scales = quantize_rows(weight)
        zeros = torch.zeros(codes.shape[0], dtype=torch.long)
        with warnings.catch_warnings():  # of a later torch, which this call alone concerns
            warnings.simplefilter("ignore", UserWarning)
            tensor = torch._make_per_channel_quantized_tensor(codes, scales.double(), zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(tensor, None)
        self._bias = None if bias is None else bias.detach().clone()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        wide = rows.float()
        scales = torch.linalg.vector_norm(wide, float("inf"), dim=-1, keepdim=True)
        scales = scales.div_(ACTIVATION_LEVELS).clamp_(min=SMALLEST)
        out: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            wide / scales, 1.0, ACTIVATION_LEVELS + 1, self._packed
        )
        out = out.mul_(scales).to(rows.dtype)
        return out if self._bias is None else out.add_(self._bias)


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`[rows, width]` as int8 and one fp32 scale per row, `[rows]`; rounded to nearest."""
    wide = weight.detach().float()
    scales = wide.abs().amax(-1).div_(LEVELS).clamp_(min=SMALLEST)
    return (wide / scales[:, None]).round_().to(torch.int8), scales


def require_int8() -> None:
    """Errors: UnsupportedCombination where there is no kernel for `Int8`."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        raise UnsupportedCombination(
            f"int8 on a CPU needs fbgemm, which this torch has not ({platform.machine()}).",
            hint="Leave the weights as they are, or use another quantization.",
            param="quantization",
        )


def has_packed(dtype: torch.dtype) -> bool:
    """Whether oneDNN packs weights of `dtype` here and multiplies by them rightly."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 64, generator=generator).to(dtype)
    rows = torch.randn(3, 64, generator=generator).to(dtype)
    try:
        with torch.inference_mode():
            found, expected = Prepacked(weight, None)(rows), Plain(weight, None)(rows)
    except (RuntimeError, AttributeError, TypeError):  # an operator that is not there, or another
        return False
    return bool((found - expected).float().norm() <= 0.02 * expected.float().norm())
