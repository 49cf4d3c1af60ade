"""LoRA beside the model: any mix of adapters in one forward pass, through hooks that stay in place.

All mounted adapters' matrices are stacked per module; a mask says which of the stacked ranks belong
to others than a token's adapter, so a mixed batch costs two small products per module and no
gather, and a batch without adapters costs a look at `None`. All matrices are finite, so that what
is zero for others stays zero.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from openllm.backends.pytorch.sequence import BASE_ADAPTER
from openllm.errors import WeightsError
from openllm.weights.adapters import read_adapter
from openllm.weights.finite import check_values
from openllm.weights.layers import find_layers


@attrs.frozen
class Adapter:
    """One adapter's matrices by module path: A `[rank, in]`, B `[out, rank]` with the scale
    multiplied in.
    """

    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def rank(self) -> int:
        return max(int(down.shape[0]) for down, _ in self.pairs.values())


def load_adapter(path: Path) -> Adapter:
    """The matrices of the adapter in `path`, on the CPU. Errors: WeightsError."""
    found = read_adapter(path)
    check_values(found)
    try:
        tensors = load_file(found.weights)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{found.weights} cannot be read: {error}.", hint="Fetch it again."
        ) from error
    return Adapter(
        {
            module: (tensors[layer.down], tensors[layer.up] * layer.scale)
            for module, layer in found.layers.items()
        }
    )


class AdapterBank:
    """The adapters mounted on one model, by key. Every method runs on the engine's thread, between
    steps.
    """

    def __init__(self, model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self._modules = dict(model.named_modules())
        self._device, self._dtype = device, dtype
        self._adapters: dict[int, Adapter] = {}
        self._stacks: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._hooks: dict[str, Any] = {}
        self._owners = torch.empty(0, dtype=torch.long)
        self._mask: torch.Tensor | None = None
        self.version = 0  # counts mounts and unmounts: what was captured before is stale

    def mount(self, key: int, adapter: Adapter) -> None:
        """Errors: WeightsError when a target or a shape does not fit the model."""
        adapter = self._placed(adapter)
        for name, (down, up) in adapter.pairs.items():
            module = self._modules.get(name)
            shape = _shape(module)
            if shape is None:
                raise WeightsError(
                    f"The adapter targets {name!r}.", hint="The model has no such linear layer."
                )
            if (down.shape[1], up.shape[0]) != shape or down.shape[0] != up.shape[1]:
                found = (
                    f"{tuple(down.shape)} and {tuple(up.shape)} for a layer of {shape[0]} to"
                    f" {shape[1]}"
                )
                raise WeightsError(
                    f"The adapter's {name!r} is {found}.",
                    hint="It was made for another base model.",
                )
        self._adapters[key] = adapter
        self._stack()
        if not all(
            bool(matrix.isfinite().all()) for pair in self._stacks.values() for matrix in pair
        ):
            self.unmount(key)
            raise WeightsError(
                f"The adapter has values that are infinite in {self._dtype}.",
                hint="Correct lora_alpha, or serve the model in another dtype.",
            )

    def _placed(self, adapter: Adapter) -> Adapter:
        """The same with the names that this model has for its layers; a layer that it lacks keeps
        its own.
        """
        layers = [name for name, module in self._modules.items() if _shape(module) is not None]
        names = find_layers(adapter.pairs, layers)
        return Adapter({names[name] or name: pair for name, pair in adapter.pairs.items()})

    def unmount(self, key: int) -> None:
        if self._adapters.pop(key, None) is not None:
            self._stack()

    @contextlib.contextmanager
    def applied(self, keys: list[int]) -> Iterator[None]:
        """Within this context token i of a forward pass goes through adapter `keys[i]`; one key
        stands for all.
        """
        if not self._adapters or all(key == BASE_ADAPTER for key in keys):
            yield
            return
        with self.masked(self.mask(keys)):
            yield

    def mask(self, keys: list[int]) -> torch.Tensor:
        """Where a stacked rank belongs to another adapter than the token's, `[tokens, ranks]`."""
        tokens = torch.tensor(keys, device=self._device)[:, None]
        return tokens != self._owners

    @contextlib.contextmanager
    def masked(self, mask: torch.Tensor) -> Iterator[None]:
        before, self._mask = self._mask, mask
        try:
            yield
        finally:
            self._mask = before

    @property
    def active(self) -> bool:
        """Whether the pass at hand goes through any adapter."""
        return self._mask is not None

    @contextlib.contextmanager
    def narrowed(self, tokens: slice | torch.Tensor) -> Iterator[None]:
        """Within this context only these tokens of the pass are computed; a single one stands for
        all.
        """
        whole = self._mask
        if whole is None or whole.shape[0] == 1:
            yield
            return
        with self.masked(whole[tokens]):
            yield

    def touches(self, name: str) -> bool:
        """Whether the pass at hand goes through an adapter of module `name`."""
        return self._mask is not None and name in self._stacks

    def add(self, name: str, rows: torch.Tensor, output: torch.Tensor) -> None:
        """Add to `output [tokens, out]` what the adapters add to module `name` for `rows [tokens,
        in]`; rows behind those of the mask are padding.
        """
        if self._mask is None or name not in self._stacks:
            return
        count = rows.shape[0] if self._mask.shape[0] == 1 else self._mask.shape[0]
        hidden, up = self._hidden(name, rows[:count]), self._stacks[name][1]
        if output.dtype == up.dtype:
            output[:count].addmm_(hidden, up)
        else:
            output[:count].add_(hidden @ up)

    def _delta(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        return self._hidden(name, rows) @ self._stacks[name][1]

    def _hidden(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        """`[tokens, ranks]`, zero where a rank is not of the token's adapter."""
        down = self._stacks[name][0]
        # a select: what overflows in another's ranks would not go away by a factor of zero
        return torch.mm(rows.to(down.dtype), down).masked_fill_(self._mask, 0)

    def _stack(self) -> None:
        """Lay all adapters' matrices side by side per module, and keep one hook on each module that
        has any.
        """
        self.version += 1
        owners = [key for key, adapter in self._adapters.items() for _ in range(adapter.rank)]
        self._owners = torch.tensor(owners, dtype=torch.long, device=self._device)
        targets = {name for adapter in self._adapters.values() for name in adapter.pairs}
        self._stacks = {name: self._stack_module(name) for name in targets}
        for name in self._hooks.keys() - targets:
            self._hooks.pop(name).remove()
        for name in targets - self._hooks.keys():
            self._hooks[name] = self._modules[name].register_forward_hook(self._hook(name))

    def _stack_module(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        shape = _shape(self._modules[name])
        assert shape is not None  # noqa: S101 - mount has looked
        downs, ups = [], []
        for adapter in self._adapters.values():
            down, up = torch.zeros(adapter.rank, shape[0]), torch.zeros(shape[1], adapter.rank)
            if name in adapter.pairs:
                pair = adapter.pairs[name]
                down[: pair[0].shape[0]], up[:, : pair[1].shape[1]] = (
                    pair[0].float(),
                    pair[1].float(),
                )
            downs.append(down)
            ups.append(up)
        # Transposed once here, so that the hook multiplies plainly: [in, ranks] and [ranks, out].
        stacked = torch.cat(downs).T.contiguous(), torch.cat(ups, dim=1).T.contiguous()
        return stacked[0].to(self._device, self._dtype), stacked[1].to(self._device, self._dtype)

    def _hook(self, name: str) -> Any:
        def add_delta(
            module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> torch.Tensor | None:
            if self._mask is None:
                return None
            up = self._stacks[name][1]
            if output.dtype != up.dtype or not output.is_contiguous():
                return output + self._delta(name, inputs[0].flatten(0, -2)).to(
                    output.dtype
                ).view_as(output)
            # added in place: nobody else has seen it yet
            self.add(name, inputs[0].flatten(0, -2), output.view(-1, output.shape[-1]))
            return None

        return add_delta


def _shape(module: Any) -> tuple[int, int] | None:
    """(in, out) of a linear layer: torch's, a quantized one, or GPT-2's Conv1D; None for anything
    else.
    """
    if isinstance(getattr(module, "in_features", None), int):
        return int(module.in_features), int(module.out_features)
    if module is not None and type(module).__name__ == "Conv1D":
        return int(module.nx), int(module.nf)
    return None
