"""Attention that a model's own modules compute, without transformers' common function, over slots:
Falcon, BLOOM and MPT (with ALiBi), GPT-J, CodeGen and GPT-Neo.

The modules' projections and rotations stay; the product of queries and keys is that of `attention`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

from openllm.backends.pytorch.forward.attention import ALIBI, LayerView, Replacement, SlotCache

Method = Callable[..., Any]

# Each of the following takes a module, its own method, ALiBi `[heads, positions]` where there is
# any, and the method's arguments.


def _falcon(
    module: Any, own: Method, table: torch.Tensor | None, /, *args: Any, **kwargs: Any
) -> Any:
    cache = kwargs.get("layer_past")
    if not isinstance(cache, SlotCache):
        return own(*args, **kwargs)
    states = module._split_heads(module.query_key_value(args[0]))
    query, key, value = (tensor.transpose(1, 2) for tensor in states)
    if table is None:
        turn = sys.modules[type(module).__module__].apply_rotary_pos_emb
        query, key = turn(query, key, *kwargs["position_embeddings"])
    view, _ = cache.update(key, value, module.layer_idx)
    options = {} if table is None else {ALIBI: table * module.inv_norm_factor}
    return module.dense(view.attend(query, options).flatten(2)), None


def _bloom(
    module: Any, own: Method, table: torch.Tensor | None, /, *args: Any, **kwargs: Any
) -> Any:
    cache = kwargs.get("layer_past")
    if not isinstance(cache, SlotCache) or table is None:
        return own(*args, **kwargs)
    hidden, residual = args
    query, key, value = module._reshape(module.query_key_value(hidden))
    view, _ = cache.update(key, value, module.layer_idx)
    options = {"scale": module.inv_norm_factor, ALIBI: table * module.beta}
    return module.dense(view.attend(query, options).flatten(2)) + residual, None


def _mpt(module: Any, own: Method, table: torch.Tensor | None, /, *args: Any, **kwargs: Any) -> Any:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, SlotCache):
        return own(*args, **kwargs)
    mixed = module.Wqkv(args[0])
    if module.clip_qkv:
        mixed = mixed.clamp(min=-module.clip_qkv, max=module.clip_qkv)
    query, key, value = (
        tensor.unflatten(2, (module.n_heads, -1)).transpose(1, 2) for tensor in mixed.chunk(3, 2)
    )
    view, _ = cache.update(key, value, module.layer_idx)
    options = {"scale": module.softmax_scale} | ({} if table is None else {ALIBI: table})
    return module.out_proj(view.attend(query, options).flatten(2)), None


def _gpt(module: Any, own: Method, table: None, /, query: Any, key: Any, *args: Any) -> Any:
    """`_attn` of GPT-J and its kin."""
    if not isinstance(key, LayerView):
        return own(query, key, *args)
    scale = 1.0 / float(getattr(module, "scale_attn", 1.0))
    local = getattr(module, "attention_type", None) == "local"
    view = LayerView(key.stages, key.layer, module.config.window_size if local else None)
    return view.attend(query, {"scale": scale}).transpose(1, 2), None


KNOWN: dict[str, tuple[str, Method]] = {
    "FalconAttention": ("forward", _falcon),
    "BloomAttention": ("forward", _bloom),
    "MptAttention": ("forward", _mpt),
    **dict.fromkeys(("GPTJAttention", "CodeGenAttention", "GPTNeoSelfAttention"), ("_attn", _gpt)),
}


def own_attention(model: Any, positions: int) -> list[Replacement]:
    """What stands in for the modules' own attention; nothing for models that have the common one.
    `positions`: the longest text.
    """
    alibi = _alibi(model, positions)
    found = []
    for module in model.modules():
        if (known := KNOWN.get(type(module).__name__)) is not None:
            name, method = known
            bound = functools.partial(method, module, getattr(module, name), alibi)
            found.append(Replacement(module, name, bound))
    return found


def _alibi(model: Any, positions: int) -> torch.Tensor | None:
    """What the scores of each head grow by with a key's position, `[heads, positions]`, by the
    model's own function.
    """
    for module in model.modules():
        kind, config = type(module), getattr(module, "config", model.config)
        if kind.__name__ == "MptModel" and config.attn_config.alibi:
            device = module.wte.weight.device
            table = module.build_mpt_alibi_tensor(module.num_heads, positions, device=device)
            return table.flatten(0, -2).to(module.wte.weight.dtype)
        if kind.__name__ == "BloomModel" or (kind.__name__ == "FalconModel" and config.alibi):
            like = module.word_embeddings.weight
            seen = torch.ones(1, positions, device=like.device)
            build = sys.modules[kind.__module__].build_alibi_tensor
            table = build(seen, module.num_heads, dtype=like.dtype)
            return table.view(-1, positions)
    return None
