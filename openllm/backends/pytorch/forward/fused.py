"""The forward pass of Llama's kin written out flat: one product for queries, keys and values, one
for gate and up, and half of the small operations.

Read off the modules of transformers' model, whose own pass is what it is compared with before it is
used (`fit`). It knows what Llama, Mistral, Qwen 2 and 3, Phi 3, Granite and Gemma 1 to 3 have:
biases, norms of queries and keys, norms after a block, factors, windows, capped logits, and two
kinds of positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch.nn.functional import pad

from openllm.backends.pytorch.forward.attention import LayerView, Stage, Window
from openllm.backends.pytorch.linear.layers import Stack

GEMMAS = ("gemma", "gemma2", "gemma3_text")  # their norms multiply by 1 + weight
KIN = ("llama", "mistral", "qwen2", "qwen3", "phi3", "granite", *GEMMAS)
PADDED_ABOVE = 16  # rows: shorter steps keep their length, for each of them comes again

Adapters = Any  # lora.adapters.AdapterBank, or nothing but its `add`


@attrs.frozen(eq=False)
class Norm:
    """Division by the root of the mean square, over the last dimension; `weight` is fp32 with 1
    added where `wide`.
    """

    weight: torch.Tensor
    eps: float
    width: int
    wide: bool  # multiply in fp32, as Gemma does

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float32)
        scales = norms.square_().div_(self.width).add_(self.eps).rsqrt_()
        scaled = rows * scales
        return (
            scaled.mul_(self.weight).to(rows.dtype)
            if self.wide
            else scaled.to(rows.dtype).mul_(self.weight)
        )


@attrs.frozen(eq=False)
class Block:
    """One layer: what it is computed with."""

    before: Norm
    qkv: Stack
    heads_norm: Norm | None  # of queries and keys, weights `[heads, width]`
    out: Stack
    after: Norm | None
    before_feed: Norm
    gate_up: Stack
    activation: Callable[[torch.Tensor], torch.Tensor]
    down: Stack
    after_feed: Norm | None
    heads: int
    shared_heads: int  # of keys and values
    width: int
    options: dict[str, float]  # of attention
    kind: str | None  # of positions, where a model has two
    window: Window

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return self.qkv, self.out, self.gate_up, self.down


class FusedModel:
    """One model's pass over the slots of a step. Errors of making it: AttributeError, TypeError or
    ValueError when the model is built otherwise.
    """

    def __init__(self, model: Any, windows: tuple[Window, ...]) -> None:
        config = model.config
        if config.model_type not in KIN:
            raise ValueError(f"no fused pass is known for {config.model_type}")
        body = model.model
        kinds = getattr(body.rotary_emb, "layer_types", None)
        self._body, self._rotary = body, body.rotary_emb
        self._blocks = [
            _block(model, layer, at, window, config.layer_types[at] if kinds else None)
            for at, (layer, window) in enumerate(zip(body.layers, windows, strict=True))
        ]
        self._norm = _norm(body.norm, config)
        self._head = Stack(model, ("lm_head",))
        self._embed_factor = float(getattr(config, "embedding_multiplier", None) or 1.0)
        self._factor = float(getattr(config, "residual_multiplier", None) or 1.0)
        self._logits_divisor = float(getattr(config, "logits_scaling", None) or 1.0)
        self._cap = getattr(config, "final_logit_softcapping", None)
        self.step = 1  # the number of rows is padded to multiples of it

    @property
    def stacks(self) -> list[Stack]:
        """Every product, in the order of the pass."""
        return [stack for block in self._blocks for stack in block.stacks] + [self._head]

    def __call__(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        stages: list[Stage],
        kept: torch.Tensor | int,
        adapters: Adapters,
    ) -> torch.Tensor:
        """Logits `[kept, vocabulary]` of flat tokens `[1, tokens]`, of all when `kept` is 0."""
        tokens = ids.shape[1]
        spare = -tokens % self.step if tokens > PADDED_ABOVE else 0
        if spare:
            ids, positions = pad(ids, (0, spare)), pad(positions, (0, spare))
        hidden = self._body.embed_tokens(ids)[0]
        if self._embed_factor != 1.0:
            hidden = hidden * self._embed_factor
        turns = self._turns(hidden, positions)
        for at, block in enumerate(self._blocks):
            view = LayerView(stages, at, block.window)
            mixed = self._attend(block, block.before(hidden), view, turns[block.kind], adapters)
            hidden = self._join(hidden, mixed, block.after)
            fed = self._feed(block, block.before_feed(hidden), adapters)
            hidden = self._join(hidden, fed, block.after_feed)
        hidden = hidden[:tokens] if isinstance(kept, int) else hidden[kept]
        return self._logits(self._norm(hidden), adapters)

    def _turns(
        self, hidden: torch.Tensor, positions: torch.Tensor
    ) -> dict[str | None, tuple[torch.Tensor, torch.Tensor]]:
        """Per kind of positions cosines and signed sines `[tokens, 1, width]`: a pair (a, b) turns
        to (a cos - b sin, b cos + a sin).
        """
        turns = {}
        for kind in {block.kind for block in self._blocks}:
            asked = (hidden[None], positions) if kind is None else (hidden[None], positions, kind)
            cosines, sines = (tensor[0, :, None] for tensor in self._rotary(*asked))
            half = sines.shape[-1] // 2
            signed = torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)
            turns[kind] = cosines, signed
        return turns

    def _attend(
        self,
        block: Block,
        rows: torch.Tensor,
        view: LayerView,
        turn: tuple[torch.Tensor, torch.Tensor],
        adapters: Adapters,
    ) -> torch.Tensor:
        both = block.heads + block.shared_heads
        states = _product(block.qkv, rows, adapters).unflatten(-1, (-1, block.width))
        turned = states[:, :both]
        if block.heads_norm is not None:
            turned = block.heads_norm(turned)
        turned = _turn(turned, *turn)
        view.write(turned[:, block.heads :], states[:, both:])
        found = view.attend(turned[:, : block.heads].transpose(0, 1)[None], block.options)[0]
        found = found.flatten(1)
        if spare := rows.shape[0] - found.shape[0]:
            found = pad(found, (0, 0, 0, spare))
        return _product(block.out, found, adapters)

    def _feed(self, block: Block, rows: torch.Tensor, adapters: Adapters) -> torch.Tensor:
        gate, up = _product(block.gate_up, rows, adapters).chunk(2, dim=-1)
        return _product(block.down, block.activation(gate).mul_(up), adapters)

    def _join(self, hidden: torch.Tensor, new: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        return hidden.add_(new if norm is None else norm(new), alpha=self._factor)

    def _logits(self, rows: torch.Tensor, adapters: Adapters) -> torch.Tensor:
        logits = _product(self._head, rows, adapters)
        if self._logits_divisor != 1.0:
            logits = logits.div_(self._logits_divisor)
        return logits if self._cap is None else logits.div_(self._cap).tanh_().mul_(self._cap)


def _product(stack: Stack, rows: torch.Tensor, adapters: Adapters) -> torch.Tensor:
    out = stack(rows)
    if adapters.active:
        for path, part in zip(stack.paths, out.split(stack.widths, dim=-1), strict=True):
            adapters.add(path, rows, part)
    return out


def _turn(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Rotate `[tokens, heads, width]` by its positions; a model may leave the last part as it
    is.
    """
    size = cosines.shape[-1]
    if size == states.shape[-1]:
        return torch.addcmul(states * cosines, states.roll(size // 2, -1), sines)
    turned, rest = states[..., :size], states[..., size:]
    turned = torch.addcmul(turned * cosines, turned.roll(size // 2, -1), sines)
    return torch.cat((turned, rest), dim=-1)


def _block(model: Any, layer: Any, at: int, window: Window, kind: str | None) -> Block:
    config, attention, feed = model.config, layer.self_attn, layer.mlp
    path = f"model.layers.{at}"
    width = int(attention.head_dim)
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    sandwich = hasattr(layer, "pre_feedforward_layernorm")
    qkv = ("qkv_proj",) if hasattr(attention, "qkv_proj") else ("q_proj", "k_proj", "v_proj")
    gate_up = ("gate_up_proj",) if hasattr(feed, "gate_up_proj") else ("gate_proj", "up_proj")
    options = {"scale": float(attention.scaling)}
    if (cap := getattr(attention, "attn_logit_softcapping", None)) is not None:
        options["softcap"] = float(cap)
    block = Block(
        before=_norm(layer.input_layernorm, config),
        qkv=_stack(attention, qkv, f"{path}.self_attn"),
        heads_norm=_heads_norm(attention, heads, shared, config),
        out=_stack(attention, ("o_proj",), f"{path}.self_attn"),
        after=_norm(layer.post_attention_layernorm, config) if sandwich else None,
        before_feed=_norm(
            layer.pre_feedforward_layernorm if sandwich else layer.post_attention_layernorm, config
        ),
        gate_up=_stack(feed, gate_up, f"{path}.mlp"),
        activation=getattr(feed, "act_fn", None) or feed.activation_fn,
        down=_stack(feed, ("down_proj",), f"{path}.mlp"),
        after_feed=_norm(layer.post_feedforward_layernorm, config) if sandwich else None,
        heads=heads,
        shared_heads=shared,
        width=width,
        options=options,
        kind=kind,
        window=window,
    )
    if sum(block.qkv.widths) != (heads + 2 * shared) * width:
        raise ValueError("queries, keys and values have other widths than the configuration says")
    return block


def _stack(parent: torch.nn.Module, names: tuple[str, ...], path: str) -> Stack:
    if any(type(getattr(parent, name)) is not torch.nn.Linear for name in names):
        raise TypeError(f"{path}.{names[0]} is no plain linear layer")
    return Stack(parent, names, path)


def _norm(module: Any, config: Any) -> Norm:
    gemma = config.model_type in GEMMAS
    weight = module.weight.detach()
    eps = getattr(module, "variance_epsilon", None)
    return Norm(
        1.0 + weight.float() if gemma else weight,
        float(module.eps if eps is None else eps),
        weight.shape[-1],
        gemma,
    )


def _heads_norm(attention: Any, heads: int, shared: int, config: Any) -> Norm | None:
    if getattr(attention, "q_norm", None) is None:
        return None
    queries, keys = _norm(attention.q_norm, config), _norm(attention.k_norm, config)
    weight = torch.cat((queries.weight.expand(heads, -1), keys.weight.expand(shared, -1)))
    return attrs.evolve(queries, weight=weight)
