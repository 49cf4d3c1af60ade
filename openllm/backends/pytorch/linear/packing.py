"""Which kind of product a model's linear layers become, and the change itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from openllm.backends.pytorch.linear.layers import Int8Embedding, Stack, other_stacks
from openllm.backends.pytorch.linear.products import (
    Int8,
    Plain,
    Prepacked,
    ProductKind,
    has_packed,
    require_int8,
)
from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.loading.quantization import is_own_int8
from openllm.backends.pytorch.options import PACKED
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedCombination
from openllm.hardware.memory import free_memory

TABLE_SHARE = 4  # a head that is the token table, too, is packed beside it up to 1/4 of free memory

log = logging.getLogger(__name__)


def choose_kind(spec: LLMSpec, loaded: LoadedModel) -> type[Plain | Prepacked | Int8]:
    """Int8 where the spec asks for it, else packed on a CPU that can. Errors:
    UnsupportedCombination.
    """
    if is_own_int8(spec, loaded.device):
        require_int8()
        if loaded.model.config.is_encoder_decoder:
            raise UnsupportedCombination(
                "int8 on a CPU is for decoders and encoders; this model is both.",
                hint="Leave the weights as they are.",
                param="quantization",
            )
        return Int8
    wanted = loaded.device.type == "cpu" and spec.engine_args.get(PACKED, True)
    return Prepacked if wanted and has_packed(loaded.dtype) else Plain


def pack_stacks(model: torch.nn.Module, stacks: list[Stack], kind: ProductKind) -> None:
    """Make products of the stacks one after another, each weight let go before the next is made."""
    table = _tied_table(model)
    for stack in stacks:
        if table is not None and kind is Prepacked and stack.reads(table.weight) and _large(table):
            continue
        stack.pack(kind)
    if kind is Int8:
        _replace_tables(model)


def pack_others(model: torch.nn.Module, kind: ProductKind) -> Callable[[], None]:
    """Make a product of every plain linear layer; what is returned puts the layers back."""
    stacks = other_stacks(model, [])
    layers = [
        (stack.parent, name, getattr(stack.parent, name))
        for stack in stacks
        for name in stack.names
    ]
    pack_stacks(model, stacks, kind)

    def undo() -> None:
        for parent, name, layer in layers:
            setattr(parent, name, layer)

    return undo


def _tied_table(model: torch.nn.Module) -> torch.nn.Embedding | None:
    """The table of tokens where the head has the same weights."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = table is not None and head is not None and table.weight is head.weight
    return table if tied else None


def _large(table: torch.nn.Embedding) -> bool:
    return bool(table.weight.nbytes * TABLE_SHARE > free_memory())


def _replace_tables(model: torch.nn.Module) -> None:
    table = model.get_input_embeddings()
    if isinstance(table, torch.nn.Embedding):
        model.set_input_embeddings(Int8Embedding(table))
