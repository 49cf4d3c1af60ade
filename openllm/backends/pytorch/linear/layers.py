"""A model's linear layers replaced: those that read the same input become one product.

What stands in the model afterwards are `Part`s, so that the model's own forward pass goes on
working and hooks on a layer by its name, as those of LoRA, stay possible.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from openllm.backends.pytorch.linear.products import (
    Plain,
    Product,
    ProductKind,
    quantize_rows,
)


class Stack:
    """Linear layers of one module that read the same input, side by side: `[rows, in]` -> `[rows,
    sum of outs]`.
    """

    def __init__(self, parent: torch.nn.Module, names: tuple[str, ...], path: str = "") -> None:
        self.parent, self.names = parent, names
        self.paths = [f"{path}.{name}" if path else name for name in names]
        self._layers: list[Any] = [getattr(parent, name) for name in names]
        shapes = [_weight(layer).shape for layer in self._layers]
        self.widths = [int(shape[0]) for shape in shapes]
        self.in_features = int(shapes[0][1])
        self._product: Product | None = None
        self._kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """A tensor nobody else holds."""
        if self._product is not None:
            return self._product(rows)
        outs = [torch.nn.functional.linear(rows, _weight(one), one.bias) for one in self._layers]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=-1)

    def reads(self, weight: torch.Tensor) -> bool:
        """Whether one of the layers multiplies by this very tensor."""
        return any(layer.weight is weight for layer in self._layers)

    def pack(self, kind: ProductKind) -> None:
        """Make one product of the layers' weights, and let go of these."""
        weights = [_weight(layer).detach() for layer in self._layers]
        biases = [layer.bias for layer in self._layers]
        bias = None
        if any(one is not None for one in biases):
            bias = torch.cat(
                [
                    weight.new_zeros(weight.shape[0]) if one is None else one.detach()
                    for weight, one in zip(weights, biases, strict=True)
                ]
            )
        self._product = kind(weights[0] if len(weights) == 1 else torch.cat(weights), bias)
        if isinstance(self._product, Plain):
            self._share(self._product)
        else:
            for at, name in enumerate(self.names):
                setattr(self.parent, name, Part(self, at))
            self._layers = []

    def _share(self, product: Plain) -> None:
        """The layers' own weights become views of the stacked one."""
        if len(self._layers) > 1:
            for layer, weight in zip(self._layers, product.weight.split(self.widths), strict=True):
                layer.weight = torch.nn.Parameter(weight, requires_grad=False)

    def part(self, rows: torch.Tensor, at: int) -> torch.Tensor:
        """One layer's output; the others' are kept until the last of them was asked for, as they
        are asked in turn with the same rows.
        """
        if self._kept is None or self._kept[0] is not rows:
            self._kept = rows, self(rows.flatten(0, -2)).unflatten(0, rows.shape[:-1])
        out = self._kept[1]
        if at == len(self.names) - 1:
            self._kept = None
        return out if len(self.names) == 1 else out.split(self.widths, dim=-1)[at]


class Part(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """One layer of a stack, where the model has it."""

    def __init__(self, stack: Stack, at: int) -> None:
        super().__init__()
        self._stack, self._at = stack, at
        self.in_features, self.out_features = stack.in_features, stack.widths[at]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self._stack.part(rows, self._at)


class Int8Embedding(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """A table of token vectors in int8 with a scale per token, in place of the one it is made
    of.
    """

    def __init__(self, table: torch.nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self._dtype = table.weight.dtype
        self.codes, self.scales = quantize_rows(table.weight)
        # Gemma's tables multiply what they find
        scale = getattr(table, "scalar_embed_scale", None)
        self._factor = 1.0 if scale is None else float(torch.tensor(scale, dtype=self._dtype))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found = self.codes[ids].float() * self.scales[ids][..., None]
        return found.to(self._dtype).mul_(self._factor)


def is_linear(module: Any) -> bool:
    """Whether it is torch's linear layer, or GPT-2's; neither quantized nor otherwise special."""
    return type(module) is torch.nn.Linear or type(module) is Conv1D


def _weight(layer: Any) -> torch.Tensor:
    """`[out, in]`, whichever way the layer holds it."""
    weight: torch.Tensor = layer.weight.T if type(layer) is Conv1D else layer.weight
    return weight


def other_stacks(model: torch.nn.Module, known: list[Stack]) -> list[Stack]:
    """A stack of its own for every plain linear layer of the model that is in none yet, and whose
    weight nobody but itself looks at.
    """
    taken = {path for stack in known for path in stack.paths}
    sources: dict[type, str] = {}
    stacks = []
    for path, module in model.named_modules():
        if not is_linear(module) or path in taken:
            continue
        folder, _, name = path.rpartition(".")
        parent = model.get_submodule(folder)
        kind = type(parent)
        if kind not in sources:
            sources[kind] = _source(kind)
        if f"self.{name}.weight" not in sources[kind]:
            stacks.append(Stack(parent, (name,), folder))
    return stacks


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # it was made without a file
        return ""
