"""How many bytes a model's weights take once they are loaded: as they are stored, in another
format, or quantized while they load.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from openllm.hardware.fields import first, text_fields
from openllm.hardware.shape import DTYPE_BYTES, hidden_size, model_shape

# Bytes of a number in safetensors' words, where it is a format that engines change while they load.
_FLOATS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# Bytes of a number of a matrix that is quantized while it loads, its scales counted.
QUANTIZED: Mapping[str, float] = {
    "int8": 1.0,
    "torchao-int8": 1.0,
    "fp8": 1.0,
    "fp8_per_tensor": 1.0,
    "fp8_per_block": 1.0,
    "int4": 0.5 + 4 / 64,  # bitsandbytes: a scale in fp32 for 64 numbers
    "nf4": 0.5 + 4 / 64,
    "bitsandbytes": 0.5 + 4 / 64,
}
_EXPERT = re.compile(r"\.experts?\.|\.experts?_|\.shared_expert|block_sparse_moe\.experts")
_APART = re.compile(r"\.experts\.[0-9]+\.")
_SIGHT = re.compile(
    r"(^|\.)(vision\w*|visual|image_\w+|multi_modal_projector|mm_projector|connector|embed_vision"
    r"|audio\w*|embed_audio)\."
)
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.([0-9]+)\.")
_TABLE = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embeddings?)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|output|embed_out)\.weight$")
_DRAFT = re.compile(r"(^|\.)mtp\.")  # heads that draft tokens; engines leave them out


class Tensor(Protocol):
    """What a safetensors header says of one tensor."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def span(self) -> tuple[int, int]: ...


@attrs.frozen
class WeightParts:
    """Bytes of loaded weights. `table` is that of tokens, `largest` the largest matrix; both are in
    the sum of `dense`, `experts` and `sight`, too.
    """

    dense: int = 0  # embeddings, attention, layers that all tokens pass
    experts: int = 0  # of a mixture
    sight: int = 0  # towers for images and sound
    table: int = 0
    largest: int = 0
    whole: int = 0  # what all of it takes before anything is quantized
    stored: int = 0  # in its files
    apart: int = 0  # of experts that are stored one by one
    tied: bool = False  # the head that gives logits is the table

    @property
    def total(self) -> int:
        return self.dense + self.experts + self.sight


def loaded_parts(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    dtype: str,
    quantization: str | None = None,
) -> WeightParts:
    """Weights loaded in `dtype` (float32, bfloat16, float16), matrices of linear layers in
    `quantization` where that is said. Numbers that the checkpoint has quantized stay as they are.
    """
    wide = DTYPE_BYTES.get(dtype, 2)
    sums = {"dense": 0.0, "experts": 0.0, "sight": 0.0}
    table = largest = whole = apart = 0.0
    head, stored = False, 0
    drafts = _first_draft(config)
    for name, tensor in tensors.items():
        if _is_draft(name, drafts):
            continue
        size = _loaded(name, tensor, wide, quantization)
        sums[_part(name)] += size
        whole += _loaded(name, tensor, wide, None)
        stored += tensor.span[1] - tensor.span[0]
        apart += size if _APART.search(name) else 0
        largest = max(largest, size)
        head = head or _HEAD.search(name) is not None
        if _TABLE.search(name) and _part(name) == "dense":
            table = max(table, size)
    return WeightParts(
        dense=int(sums["dense"]),
        experts=int(sums["experts"]),
        sight=int(sums["sight"]),
        table=int(table),
        largest=int(largest),
        whole=int(whole),
        stored=stored,
        apart=int(apart),
        tied=not head,
    )


def guessed_parts(
    size: int, config: Mapping[str, Any], dtype: str, quantization: str | None = None
) -> WeightParts:
    """The same where only the bytes of the whole checkpoint are known: all of it in the format that
    the configuration names, quantized as one.
    """
    wide, stored = DTYPE_BYTES.get(dtype, 2), stored_dtype(config)
    packed, shape = is_packed(config), model_shape(config)
    table = shape.vocab * hidden_size(config) * wide
    whole = total = size if packed else int(size * wide / DTYPE_BYTES.get(stored, 2))
    if not packed:
        total = table + int((total - table) * QUANTIZED.get(quantization or "", wide) / wide)
    # of a mixture so large that its headers are not read, nearly all is in the experts
    experts = max(total - 4 * table, 0) if shape.experts else 0
    tied = config.get("tie_word_embeddings") is True
    return WeightParts(
        dense=total - experts,
        experts=experts,
        table=table,
        largest=table,
        whole=whole,
        stored=size,
        apart=experts,
        tied=tied,
    )


def is_packed(config: Mapping[str, Any]) -> bool:
    """Whether the checkpoint has quantized its numbers."""
    return config.get("quantization_config") is not None


def stored_dtype(config: Mapping[str, Any]) -> str:
    """The format that the configuration names; 16 bits where it is silent."""
    fields = text_fields(config)
    said = fields.get("dtype") or fields.get("torch_dtype")
    said = said or config.get("dtype") or config.get("torch_dtype")
    return str(said or "bfloat16").removeprefix("torch.")


def key_value_widths(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Numbers of a token's keys and values in each layer of the text model, as the shapes of its
    projections show them; () where they are joined or packed.
    """
    widths: dict[int, int] = {}
    for name, tensor in tensors.items():
        plain = tensor.dtype in _FLOATS and len(tensor.shape) == 2
        projects = name.endswith(("k_proj.weight", "v_proj.weight"))
        layer = _LAYER.search(name)
        if plain and projects and layer and _part(name) == "dense":
            at = int(layer[1])
            widths[at] = widths.get(at, 0) + tensor.shape[0]
    return tuple(widths.get(at, 0) for at in range(max(widths, default=-1) + 1))


def _loaded(name: str, tensor: Tensor, wide: int, quantization: str | None) -> float:
    stored = tensor.span[1] - tensor.span[0]
    if tensor.dtype not in _FLOATS:
        return stored
    count = math.prod(tensor.shape)
    matrix = len(tensor.shape) >= 2 and "norm" not in name
    kept = _TABLE.search(name) or _HEAD.search(name) or not name.endswith(("weight", "_proj"))
    # our own int8 has the tables in it; bitsandbytes and vLLM leave those as they are
    changes = matrix and (quantization == "int8" or not kept)
    return count * (QUANTIZED.get(quantization or "", wide) if changes else wide)


def _part(name: str) -> str:
    if _SIGHT.search(name):
        return "sight"
    return "experts" if _EXPERT.search(name) else "dense"


def _first_draft(config: Mapping[str, Any]) -> int:
    """The number of the first layer that only drafts; 0: none does."""
    fields = text_fields(config)
    drafts = first(fields, "num_nextn_predict_layers")
    return first(fields, "num_hidden_layers") if drafts else 0


def _is_draft(name: str, begin: int) -> bool:
    layer = _LAYER.search(name)
    later = bool(begin) and layer is not None and int(layer[1]) >= begin
    return later or _DRAFT.search(name) is not None
