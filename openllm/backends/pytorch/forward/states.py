"""Models with state (Mamba, linear attention, short convolutions) over slots: each row holds what
the model carries from token to token.

The model's own modules do the arithmetic. What they see is a part of the step: one prompt's tokens,
or one token each of all rows that add one, with a cache object that has the states of these rows.

A state cannot be cut back to an earlier token as keys and values can. So a row holds `COPIES` of
it, each after another number of tokens: a step reads one and writes others, and what it has read
is there still when the step fails or its last token has to be computed again. One copy stays where
the prompt had one token left, so that others may begin there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs
import torch
from transformers.cache_utils import LinearAttentionCacheLayerMixin, LinearAttentionLayer

from openllm.backends.pytorch.forward.attention import Replacement, SlotCache, Stage
from openllm.backends.pytorch.forward.slots import COPIES, Row, Slab, StateShape

CACHE_NAMES = ("cache_params", "past_key_values")  # of the argument, in modules and models


@attrs.frozen
class StatePlan:
    """Which copies of its state one row reads and writes in a step. `body` is for the tokens
    before the last of those that draw, `last` for one token by itself.
    """

    row: Row
    start: int  # tokens that are in the state it reads
    read: int
    body: int | None
    body_count: int
    last: int | None

    @property
    def last_read(self) -> int:
        return self.read if self.body is None else self.body

    def commit(self) -> None:
        """What was written is valid."""
        if self.body is not None:
            self.row.marks[self.body] = self.start + self.body_count
        if self.last is not None:
            self.row.marks[self.last] = self.start + self.body_count + 1
            if self.body is not None:
                self.row.kept = self.body


def plan_state(row: Row, start: int, count: int, *, draws: bool) -> StatePlan:
    """For `count` tokens from `start` on. Errors: ValueError when the row has no state there,
    which is an error of ours.
    """
    read = row.marks.index(start)
    free = sorted((at for at in range(COPIES) if at != read), key=lambda at: at == row.kept)
    if count == 1:
        plan = StatePlan(row, start, read, body=None, body_count=0, last=free[0])
    elif draws:
        plan = StatePlan(row, start, read, body=free[0], body_count=count - 1, last=free[1])
    else:
        plan = StatePlan(row, start, read, body=free[0], body_count=count, last=None)
    for written in (plan.body, plan.last):
        if written is not None:
            row.marks[written] = -1
    if row.kept in (plan.body, plan.last):
        row.kept = None
    return plan


@attrs.frozen
class Body:
    """A run of tokens of one row: flat tokens [begin, begin + count)."""

    begin: int
    count: int
    fresh: bool  # it begins the text
    read: int  # of all copies in the slab
    write: int


@attrs.frozen(eq=False)
class StateStep:
    """What a step does with the states of one slab: runs of tokens first, then single tokens."""

    bodies: list[Body]
    tokens: torch.Tensor | None  # [singles]: flat tokens
    read: torch.Tensor  # [singles]: of all copies in the slab
    write: torch.Tensor


class PartCache:
    """What a module takes for the model's cache: the states of one part of a step."""

    def __init__(self, layer: LinearAttentionLayer) -> None:
        self.layers, self._layer = _Only(layer), layer

    def has_previous_state(
        self, layer_idx: int | None = None, state_idx: int | None = None
    ) -> bool:
        previous = self._layer.has_previous_state
        return bool(previous[state_idx] if state_idx is not None else all(previous.values()))

    def update_conv_state(
        self, states: torch.Tensor, layer_idx: int, state_idx: int = 0, **options: Any
    ) -> torch.Tensor:
        updated: torch.Tensor = self._layer.update_conv_state(states, state_idx, **options)
        return updated

    def update_recurrent_state(
        self, states: torch.Tensor, layer_idx: int, state_idx: int = 0, **options: Any
    ) -> torch.Tensor:
        updated: torch.Tensor = self._layer.update_recurrent_state(states, state_idx, **options)
        return updated


class _Only:
    """A list of layers that has the same one everywhere."""

    def __init__(self, layer: LinearAttentionLayer) -> None:
        self._layer = layer

    def __getitem__(self, at: int) -> LinearAttentionLayer:
        return self._layer


class StateModule:
    """One module that carries a state, over the slots of a step."""

    def __init__(
        self, module: Any, shapes: tuple[StateShape, ...], first: int, cache: SlotCache
    ) -> None:
        self._forward: Callable[..., Any] = module.forward
        self._shapes, self._first, self._cache = shapes, first, cache
        self._cache_name = cache_name(module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """In place of the module's own forward: flat hidden states `[1, tokens, width]`."""
        if not any(value is self._cache for value in (*args, *kwargs.values())):
            return self._forward(*args, **kwargs)
        hidden: torch.Tensor = args[0] if args else kwargs["hidden_states"]
        out: torch.Tensor | None = None
        for stage in self._cache.stages:
            step: StateStep = stage.states
            for body in step.bodies:
                part = slice(body.begin, body.begin + body.count)
                found = self._body(stage.slab, body, hidden[:, part], part)
                out = _room(out, hidden, found)
                out[:, part] = found
            if step.read.shape[0]:
                part = slice(stage.begin, stage.end) if step.tokens is None else step.tokens
                found = self._singles(stage.slab, step, hidden[0, part][:, None], part)
                out = _room(out, hidden, found)
                out[0, part] = found[:, 0]
        return out

    def _body(self, slab: Slab, body: Body, rows: torch.Tensor, part: slice) -> torch.Tensor:
        held = [copies[body.read : body.read + 1].clone() for copies in self._copies(slab)]
        layer = self._layer(held, begun=not body.fresh)
        if body.fresh:
            for state in held:
                state.zero_()
        found = self._run(layer, rows, part)
        for copies, state in zip(self._copies(slab), self._held(layer), strict=True):
            copies[body.write : body.write + 1] = state
        return found

    def _singles(self, slab: Slab, step: StateStep, rows: torch.Tensor, part: Any) -> torch.Tensor:
        held = [copies.index_select(0, step.read) for copies in self._copies(slab)]
        layer = self._layer(held, begun=True)
        found = self._run(layer, rows, part)
        for copies, state in zip(self._copies(slab), self._held(layer), strict=True):
            copies.index_copy_(0, step.write, state.to(copies.dtype))
        return found

    def _run(self, layer: LinearAttentionLayer, rows: torch.Tensor, part: Any) -> torch.Tensor:
        with self._cache.adapters.narrowed(part):
            found = self._forward(rows, **{self._cache_name: PartCache(layer)})
        tensor: torch.Tensor = found[0] if isinstance(found, tuple) else found
        return tensor

    def _copies(self, slab: Slab) -> list[torch.Tensor]:
        """This layer's states of all copies of all rows, `[rows * COPIES + 1, ...]` each."""
        return slab.states[self._first : self._first + len(self._shapes)]

    def _layer(self, held: list[torch.Tensor], *, begun: bool) -> LinearAttentionLayer:
        layer = LinearAttentionLayer(1 + max(shape.index for shape in self._shapes))
        layer.has_previous_state = dict.fromkeys(layer.has_previous_state, begun)
        layer.dtype, layer.device = held[0].dtype, held[0].device
        for shape, state in zip(self._shapes, held, strict=True):
            if shape.recurrent:
                layer.recurrent_states[shape.index] = state
                layer.is_recurrent_states_initialized[shape.index] = True
            else:
                layer.conv_states[shape.index] = state
                layer.is_conv_states_initialized[shape.index] = True
                layer.conv_kernel_size[shape.index] = state.shape[-1]
        return layer

    def _held(self, layer: LinearAttentionLayer) -> list[torch.Tensor]:
        kinds = layer.conv_states, layer.recurrent_states
        return [kinds[shape.recurrent][shape.index] for shape in self._shapes]


def _room(out: torch.Tensor | None, hidden: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    return hidden.new_zeros(*hidden.shape[:-1], found.shape[-1]) if out is None else out


def cache_name(module: torch.nn.Module) -> str:
    """What a model or one of its modules calls its cache. Errors: LookupError."""
    names = inspect.signature(module.forward).parameters
    found = next((name for name in CACHE_NAMES if name in names), None)
    if found is None:
        raise LookupError(f"{type(module).__name__} takes no cache")
    return found


def layer_states(layer: Any) -> tuple[StateShape, ...]:
    """What a layer of a model's cache holds of one sequence beside keys and values."""
    if not isinstance(layer, LinearAttentionCacheLayerMixin):
        return ()
    return tuple(
        StateShape(bool(recurrent), index, tuple(state.shape[1:]), state.dtype)
        for recurrent, states in enumerate((layer.conv_states, layer.recurrent_states))
        for index, state in states.items()
        if state is not None
    )


def state_modules(
    model: Any, shapes: tuple[tuple[StateShape, ...], ...], cache: SlotCache
) -> list[Replacement]:
    """What stands in for the forward pass of each module that carries a state. Errors: LookupError
    when a layer that has one has no module that does.
    """
    found: dict[int, Replacement] = {}
    firsts = [sum(map(len, shapes[:at])) for at in range(len(shapes))]
    for module in model.modules():
        at = getattr(module, "layer_idx", None)
        convolves = any(isinstance(child, torch.nn.Conv1d) for child in module.children())
        if isinstance(at, int) and convolves and at < len(shapes) and shapes[at]:
            stateful = StateModule(module, shapes[at], firsts[at], cache)
            found[at] = Replacement(module, "forward", stateful.forward)
    for at, states in enumerate(shapes):
        if states and at not in found:
            raise LookupError(f"no module carries the state of layer {at}")
    return list(found.values())


def plan_stage(stage: Stage, plans: list[tuple[int, StatePlan]], device: torch.device) -> StateStep:
    """The states of a stage; each plan with the first flat token of its row."""
    bodies, tokens, read, write = [], [], [], []
    for begin, plan in plans:
        base = plan.row.slot * COPIES
        if plan.body is not None:
            fresh = plan.start == 0
            bodies.append(Body(begin, plan.body_count, fresh, base + plan.read, base + plan.body))
        if plan.last is not None:
            tokens.append(begin + plan.body_count)
            read.append(base + plan.last_read)
            write.append(base + plan.last)
    whole = not bodies and tokens == list(range(stage.begin, stage.end))
    indices = torch.tensor([tokens, read, write], dtype=torch.long, device=device)
    return StateStep(bodies, None if whole else indices[0], indices[1], indices[2])
