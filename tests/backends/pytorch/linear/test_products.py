"""Products of a row do not depend on its company, and are those of the weight."""

from __future__ import annotations

import pytest
import torch

from openllm.backends.pytorch.linear.products import Int8, Plain, Prepacked, has_packed


def rows(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "tolerance"), [(Plain, 1e-6), (Prepacked, 1e-5), (Int8, 0.03)])
def test_a_product_is_that_of_the_weight(
    kind: type[Plain | Prepacked | Int8], tolerance: float, bias: bool
) -> None:
    if kind is Prepacked and not has_packed(torch.float32):
        pytest.skip("no oneDNN here")
    weight, added = rows(48, 96), rows(48, 1)[:, 0] if bias else None
    product = kind(weight, added)
    for count in (1, 2, 5, 33):
        given = rows(count, 96)
        expected = torch.nn.functional.linear(given, weight, added)
        found = product(given)
        assert (found - expected).norm() <= tolerance * expected.norm()
        assert found.dtype == torch.float32


def test_a_row_in_int8_is_the_same_in_any_company() -> None:
    product = Int8(rows(64, 128), None)
    many = rows(37, 128) * torch.logspace(-3, 3, 37)[:, None]
    together = product(many)
    for at in range(37):
        assert torch.equal(product(many[at : at + 1])[0], together[at])
        assert torch.equal(product(many[at:])[0], together[at])


def test_int8_of_rows_of_zeros_large_and_unknown_numbers() -> None:
    weight = rows(16, 32)
    weight[3] = 0
    product = Int8(weight, None)
    given = torch.stack([torch.zeros(32), torch.full((32,), 1e30), torch.full((32,), torch.nan)])
    found = product(given)
    assert torch.equal(found[0], torch.zeros(16))
    assert found[1].isfinite().all()
    assert found[1].abs().max() > 1e28
    assert found[2].isnan().all()


def test_bfloat16_rows_give_bfloat16() -> None:
    assert Int8(rows(8, 16).bfloat16(), None)(rows(2, 16).bfloat16()).dtype == torch.bfloat16


def test_what_is_no_number_format_of_weights_is_not_packed() -> None:
    assert not has_packed(torch.float16)
