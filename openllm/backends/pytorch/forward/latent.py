"""Latent attention (DeepSeek V2 and V3, Kimi) over slots: a row that adds a token attends to the
short vectors that all heads share.

Keys and values are two linear maps of the latent vector. The scores of a query against expanded
keys are those of the query, taken through the first map, against the latents; and a mean of
expanded values is the mean of the latents, taken through the second. So a decode step expands
nothing. Source: DeepSeek-V2 (arXiv 2405.04434), section 2.1.2.
"""

from __future__ import annotations

from typing import Any

import torch

from openllm.backends.pytorch.forward.attention import (
    Chunk,
    Decode,
    LayerView,
    Replacement,
    SlotCache,
    attend_chunk,
)


class LatentLayer:
    """One attention module: its two maps as matrices per head, and its own way to expand."""

    def __init__(self, module: Any, path: str, cache: SlotCache) -> None:
        self._cache, self._path, self._expand = cache, f"{path}.kv_b_proj", module.expand_kv
        keys, values = int(module.qk_nope_head_dim), int(module.v_head_dim)
        like = module.kv_a_layernorm.weight
        unit = torch.eye(int(module.kv_lora_rank), device=like.device, dtype=like.dtype)
        # Through the layer itself: a quantized one has no plain weight.
        both = module.kv_b_proj(unit).unflatten(-1, (-1, keys + values)).transpose(0, 1)
        self.to_keys = both[..., :keys].transpose(1, 2).contiguous()  # [heads, key, rank]
        self.to_values = both[..., keys:].contiguous()  # [heads, rank, value]

    def view(self, latents: Any, turned: Any) -> Any:
        """In place of the module's `expand_kv`: what is in slots is expanded where it must be."""
        if not isinstance(latents, LayerView):
            return self._expand(latents, turned)
        view = LatentView(latents, self)
        return view, view

    def expanded(
        self, latents: torch.Tensor, turned: torch.Tensor, at: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values `[1, heads, tokens, width]` of a row whose flat token `at` attends."""
        with self._cache.adapters.narrowed(slice(at, at + 1)):
            keys, values = self._expand(latents, turned)
        return keys, values

    @property
    def adapted(self) -> bool:
        """Whether the pass at hand changes the maps, for some rows or others."""
        return self._cache.adapters.touches(self._path)


class LatentView(LayerView):
    """A layer's latent vectors (in place of keys) and turned parts (in place of values), each of
    one head.
    """

    __slots__ = ("_latent",)

    def __init__(self, view: LayerView, latent: LatentLayer) -> None:
        super().__init__(view.stages, view.layer, view.window)
        self._latent = latent

    def _decode(
        self, part: Decode, query: torch.Tensor, cache: Any, options: dict[str, Any]
    ) -> torch.Tensor:
        if self._latent.adapted:
            return self._decode_by_row(part, query, cache, options)
        latents, turned = (tensor[: part.span, : part.length, 0] for tensor in cache)
        rows = query[0, :, part.begin : part.begin + part.count]
        straight, turning = rows.split((rows.shape[-1] - turned.shape[-1], turned.shape[-1]), -1)
        asked = part.spread((straight @ self._latent.to_keys).transpose(0, 1))
        scores = asked @ latents.transpose(1, 2)
        scores += part.spread(turning.transpose(0, 1)) @ turned.transpose(1, 2)
        scores *= options.get("scale") or query.shape[-1] ** -0.5
        bias = part.bias(self.window, query.dtype)[:, 0]
        shares = torch.softmax((scores + bias).float(), dim=-1).to(query.dtype)
        found = part.gather(shares @ latents)  # [count, heads, rank]
        return (found.transpose(0, 1) @ self._latent.to_values).transpose(0, 1)

    def _decode_by_row(
        self, part: Decode, query: torch.Tensor, cache: Any, options: dict[str, Any]
    ) -> torch.Tensor:
        slots = range(part.count) if part.slots is None else part.slots.tolist()
        positions = part.positions.tolist()
        chunks = [Chunk(part.begin + at, 1, slot, positions[slot]) for at, slot in enumerate(slots)]
        return torch.cat([self._chunk(chunk, query, cache, options) for chunk in chunks])

    def _chunk(
        self, part: Chunk, query: torch.Tensor, cache: Any, options: dict[str, Any]
    ) -> torch.Tensor:
        end = part.start + part.count
        latents, turned = (
            tensor[part.slot : part.slot + 1, :end].transpose(1, 2) for tensor in cache
        )
        held = self._latent.expanded(latents, turned, part.begin)
        return attend_chunk(part, query, held, self.window, options)


def latent_attention(model: Any, cache: SlotCache) -> list[Replacement]:
    """What stands in for `expand_kv` in a pass over slots, for each module that has it."""
    found = []
    for path, module in model.named_modules():
        if hasattr(module, "expand_kv") and hasattr(module, "kv_b_proj"):
            layer = LatentLayer(module, path, cache)
            found.append(Replacement(module, "expand_kv", layer.view))
    return found
