"""Attention over slots: one flat batch of tokens of many sequences, each attending to its own row
only.

The model sees a batch of one row that holds the tokens of all sequences one after another.
`SlotCache.update` writes their keys and values into the slabs and hands back a `LayerView` in place
of tensors; the attention function that is registered with transformers under `NAME` calls
`LayerView.attend`. So linear layers run once over all tokens, without padding, and attention runs
once per slab for the decoding rows and once per prompt chunk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from openllm.backends.pytorch.forward.slots import Slab
from openllm.backends.pytorch.lora.adapters import AdapterBank

NAME = "openllm_slots"
# Among the options of an attention: a logit per head, `[heads]`; what is added to the scores of a
# key by its position, `[heads, positions]`.
SINKS, ALIBI = "sinks", "alibi"


@attrs.frozen
class Blocks:
    """A token sees those of its own block alone: the text is cut into blocks of `size` tokens."""

    size: int


# Of a layer: a token sees so many up to itself, or its block; None: all before it.
Window = int | Blocks | None


def _seen(at: torch.Tensor, last: torch.Tensor, window: Window) -> torch.Tensor:
    """Which positions `at` a token at `last` sees."""
    seen = at <= last
    if isinstance(window, Blocks):
        return seen & (at // window.size == last // window.size)
    return seen if window is None else seen & (at > last - window)


@attrs.define(eq=False)
class Decode:
    """Rows of a slab that add one token each: flat tokens [begin, begin + count)."""

    begin: int
    count: int
    span: int  # rows of the slab to look at, from the first
    length: int  # tokens of each row to look at
    positions: torch.Tensor  # [span]: the position each row attends up to
    slots: torch.Tensor | None  # [count]: the row of each token; None when it is 0, 1, 2, ...
    _biases: dict[Window, torch.Tensor] = attrs.field(factory=dict)

    def bias(self, window: Window, dtype: torch.dtype) -> torch.Tensor:
        """0 where a row may look and -inf elsewhere, `[span, 1, 1, length]`; made once per step."""
        if window not in self._biases:
            at, last = (
                torch.arange(self.length, device=self.positions.device),
                self.positions[:, None],
            )
            seen = _seen(at, last, window)
            zero = torch.zeros((), dtype=dtype, device=at.device)
            self._biases[window] = torch.where(seen, zero, float("-inf"))[:, None, None, :]
        return self._biases[window]

    def spread(self, rows: torch.Tensor) -> torch.Tensor:
        """`[count, ...]` by token to `[span, ...]` by row of the slab."""
        if self.slots is None:
            return rows
        return rows.new_zeros(self.span, *rows.shape[1:]).index_copy_(0, self.slots, rows)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """`[span, ...]` by row of the slab to `[count, ...]` by token."""
        return rows if self.slots is None else rows.index_select(0, self.slots)


@attrs.define(eq=False)
class Chunk:
    """A run of prompt tokens of one row: flat tokens [begin, begin + count), positions from `start`
    on.
    """

    begin: int
    count: int
    slot: int
    start: int
    _biases: dict[Window, torch.Tensor] = attrs.field(factory=dict)

    def bias(self, window: Window, like: torch.Tensor) -> torch.Tensor | None:
        """None when plain causal attention is right, else `[count, start + count]`."""
        end = self.start + self.count
        size = window.size if isinstance(window, Blocks) else window
        if self.start == 0 and (size is None or end <= size):
            return None
        if window not in self._biases:
            at = torch.arange(end, device=like.device)
            last = torch.arange(self.start, end, device=like.device)[:, None]
            seen = _seen(at, last, window)
            zero = torch.zeros((), dtype=like.dtype, device=like.device)
            self._biases[window] = torch.where(seen, zero, float("-inf"))
        return self._biases[window]


@attrs.define(eq=False)
class Stage:
    """The flat tokens [begin, end) of one slab: where they are written and how they attend."""

    slab: Slab
    begin: int
    end: int
    write: torch.Tensor  # [end - begin]: row * slab length + position
    decode: Decode | None
    chunks: list[Chunk]
    states: Any = None  # a states.StateStep, of a model that has any


class LayerView:
    """What the model takes for a layer's keys and values."""

    __slots__ = ("layer", "stages", "window")

    def __init__(self, stages: list[Stage], layer: int, window: Window) -> None:
        self.stages, self.layer, self.window = stages, layer, window

    def attend(self, query: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """`[1, heads, tokens, width]` -> `[1, tokens, heads, width]`."""
        parts = []
        for stage in self.stages:
            keys, values = stage.slab.keys[self.layer], stage.slab.values[self.layer]
            if (decode := stage.decode) is not None:
                parts.append(self._decode(decode, query, (keys, values), options))
            parts += [self._chunk(chunk, query, (keys, values), options) for chunk in stage.chunks]
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[None]

    def write(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put `[tokens, heads, width]` where the step's tokens stand; what is behind them is
        padding.
        """
        for stage in self.stages:
            slab, new = stage.slab, slice(stage.begin, stage.end)
            for tokens, states in (
                (slab.key_tokens[self.layer], keys),
                (slab.value_tokens[self.layer], values),
            ):
                tokens.index_copy_(0, stage.write, states[new].to(tokens.dtype))

    def _decode(
        self, part: Decode, query: torch.Tensor, cache: Any, options: dict[str, Any]
    ) -> torch.Tensor:
        keys, values = (tensor[: part.span, : part.length].transpose(1, 2) for tensor in cache)
        rows = part.spread(query[0, :, part.begin : part.begin + part.count].transpose(0, 1))
        # The heads that share keys stand in for query positions: no key is ever repeated.
        grouped = rows.unflatten(1, (keys.shape[1], -1))
        bias = part.bias(self.window, query.dtype)
        bias, options = _by_head(bias, options, (1, keys.shape[1], -1, 1))
        return part.gather(_attention(grouped, keys, values, bias, options).flatten(1, 2))

    def _chunk(
        self, part: Chunk, query: torch.Tensor, cache: Any, options: dict[str, Any]
    ) -> torch.Tensor:
        end = part.start + part.count
        held = tuple(tensor[part.slot : part.slot + 1, :end].transpose(1, 2) for tensor in cache)
        return attend_chunk(part, query, held, self.window, options)


def attend_chunk(
    part: Chunk,
    query: torch.Tensor,
    held: tuple[torch.Tensor, ...],
    window: Window,
    options: dict[str, Any],
) -> torch.Tensor:
    """`[tokens of the chunk, heads, width]`, of its row's keys and values `[1, heads, tokens up to
    its last, width]`.
    """
    keys, values = held
    rows = query[:, :, part.begin : part.begin + part.count]
    bias = part.bias(window, query)
    if bias is None and not options.keys() - {"scale"}:
        out = scaled_dot_product_attention(
            rows, keys, values, is_causal=True, enable_gqa=True, **options
        )
        return out[0].transpose(0, 1)
    if bias is None:
        end = part.start + part.count
        bias = torch.full((end, end), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    # [heads of keys, group, tokens, width]: each head of keys serves its group as a batch of its
    # own
    grouped = rows[0].unflatten(0, (keys.shape[1], -1))
    bias, options = _by_head(bias, options, (keys.shape[1], -1, 1, 1))
    out = _attention(grouped, keys[0][:, None], values[0][:, None], bias, options)
    return out.flatten(0, 1).transpose(0, 1)


def _attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
    options: dict[str, Any],
) -> torch.Tensor:
    """softmax(query x keys + bias) x values over `[batch, heads, tokens, width]`, heads of keys
    broadcast. A sink is a logit of its own that takes a share and gives nothing.
    """
    if not options.keys() - {"scale"}:
        if keys.shape[1] != query.shape[1]:
            keys, values = (tensor.expand(-1, query.shape[1], -1, -1) for tensor in (keys, values))
        return scaled_dot_product_attention(query, keys, values, attn_mask=bias, **options)
    scale = options.get("scale") or query.shape[-1] ** -0.5
    scores = (query * scale) @ keys.transpose(-1, -2)
    if (cap := options.get("softcap")) is not None:
        scores = torch.tanh(scores / cap) * cap
    scores = (scores + bias).float()
    if (sinks := options.get(SINKS)) is not None:
        sinks = sinks.float().expand(*scores.shape[:-1], 1)
        shares = torch.softmax(torch.cat((scores, sinks), dim=-1), dim=-1)[..., :-1]
    else:
        shares = torch.softmax(scores, dim=-1)
    return shares.to(values.dtype) @ values


def _by_head(
    bias: torch.Tensor, options: dict[str, Any], shape: tuple[int, ...]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Bias and options with what is given per head in the shape of the scores, which is `shape`
    with the keys' positions in place of the last.
    """
    if (alibi := options.get(ALIBI)) is not None:
        seen = bias.shape[-1]
        bias = bias + alibi[:, :seen].reshape(*shape[:-1], seen)
        options = {name: option for name, option in options.items() if name != ALIBI}
    if (sinks := options.get(SINKS)) is not None:
        options = options | {SINKS: sinks.view(shape)}
    return bias, options


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is not followed by mypy
    """One layer of `SlotCache`."""

    def __init__(self, cache: SlotCache, layer: int, window: Window) -> None:
        super().__init__()
        self.cache, self.layer, self.window = cache, layer, window
        self.is_sliding = window is not None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: slabs are allocated by the store."""

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Write `[1, heads, tokens, width]` to the rows of the step and return the view that
        attends to them.
        """
        view = LayerView(self.cache.stages, self.layer, self.window)
        view.write(key_states[0].transpose(0, 1), value_states[0].transpose(0, 1))
        return view, view

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int | torch.Tensor:
        """What is claimed; or per token what, with its place in the step, makes its position."""
        positions = self.cache.positions
        if self.layer not in self.cache.reckoned or positions is None:
            return self.cache.claimed
        return positions - torch.arange(positions.shape[0], device=positions.device)

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]  # transformers is not followed by mypy
    """The cache object of one forward pass; `stages` say where its tokens go."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self.stages: list[Stage] = []
        self.claimed = 0  # tokens that it says to hold; no model may depend on it
        self.adapters: AdapterBank  # of the pass
        self.positions: torch.Tensor | None = None  # of the pass, `[tokens]`
        self.long: torch.Tensor | None = None  # which of its tokens are of a long text (longrope)
        # Layers that ask how much is held to reckon positions, which is not one number for all.
        self.reckoned: frozenset[int] = frozenset()
        super().__init__(layers=[SlotLayer(self, at, window) for at, window in enumerate(windows)])

    @contextlib.contextmanager
    def adapted(self, adapters: AdapterBank) -> Iterator[None]:
        """The adapters of the pass inside; a rehearsal's hold layers that are packed, and so freed,
        after it.
        """
        self.adapters = adapters
        try:
            yield
        finally:
            del self.adapters

    def has_previous_state(
        self, layer_idx: int | None = None, state_idx: int | None = None
    ) -> bool:
        """No: the rows of a step differ in it, and each module that has a state knows of them."""
        return False


def attend(
    module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """The function transformers calls in every layer; its own signature forces the keywords.

    Errors: TypeError for an attention variant that slots do not have (position bias).
    """
    if not isinstance(key, LayerView):
        out: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, **kwargs
        )
        return out
    if kwargs.get("position_bias") is not None:
        raise TypeError("attention over slots has no position_bias")
    options = {
        "scale": kwargs.get("scaling"),
        "softcap": kwargs.get("softcap"),
        SINKS: kwargs.get("s_aux"),
    }
    return key.attend(
        query, {name: option for name, option in options.items() if option is not None}
    ), None


@attrs.frozen(eq=False)
class Replacement:
    """What a module does in another way while its keys and values are in slots."""

    module: Any
    name: str  # of the method
    method: Any


class AttentionSwitch:
    """Puts one model's attention over slots for the time of a forward pass; outside it is as
    transformers made it.
    """

    def __init__(self, model: Any) -> None:
        AttentionInterface.register(NAME, attend)
        found = (getattr(module, "config", None) for module in model.modules())
        self._configs = list(
            {id(config): config for config in found if config is not None}.values()
        )
        self.replaced: list[Replacement] = []

    def replace(self, own: list[Replacement]) -> None:
        """Let modules with attention of their own do it in another way; masks are made for them as
        always.
        """
        if own:
            self.replaced += own
            self._configs = []

    @contextlib.contextmanager
    def over_slots(self) -> Iterator[None]:
        before = [config._attn_implementation for config in self._configs]
        own = [one.module.__dict__.get(one.name) for one in self.replaced]
        for config in self._configs:
            config._attn_implementation_internal = NAME
        for one in self.replaced:
            one.module.__dict__[one.name] = one.method
        try:
            yield
        finally:
            for config, name in zip(self._configs, before, strict=True):
                config._attn_implementation_internal = name
            for one, method in zip(self.replaced, own, strict=True):
                if method is None:
                    del one.module.__dict__[one.name]
                else:
                    one.module.__dict__[one.name] = method
