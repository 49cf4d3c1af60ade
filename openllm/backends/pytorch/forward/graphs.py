"""Decode steps recorded once and replayed: on CUDA a step is hundreds of tiny kernels, and it is
launching that costs.

A step is recorded for a slab, a number of rows and a length, both rounded up; it reads its tokens,
positions and write indices from buffers that stay in place. Padded rows write to the slab's scratch
token, and nobody reads their logits. Steps that do not suit (prompts among them, rows of several
slabs, holes between rows) run eagerly, as does everything once a recording has failed. Source: CUDA
programming guide, "CUDA Graphs"; pytorch.org, `torch.cuda.CUDAGraph`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.forward.attention import Decode, Stage
from openllm.backends.pytorch.forward.slots import COPIES, Slab
from openllm.backends.pytorch.forward.states import StateStep
from openllm.backends.pytorch.sequence import BASE_ADAPTER, StepWork

log = logging.getLogger(__name__)

ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
SHORTEST = 256  # tokens: the first length that is recorded
RECORDED_AHEAD = 32  # rows up to which steps are recorded before the first request
MOST_RECORDINGS = 96  # of one slab

Step = Callable[[], torch.Tensor]
Recorder = Callable[[Step], Step]
# (ids [1, rows], positions [1, rows], stages) -> logits [rows, vocabulary]
Forward = Callable[[torch.Tensor, torch.Tensor, list[Stage]], torch.Tensor]


@attrs.frozen
class Shape:
    """What a recording is for. `adapters` is the bank's version when any row has an adapter, else
    0.
    """

    rows: int
    length: int
    adapters: int = 0


@attrs.frozen(eq=False)
class Recording:
    """A recorded step and the buffers it reads: `inputs [4, rows]` are token ids, places in
    the text, write indices and positions (places, but for tokens behind images); `[6, rows]` where
    rows have a state: which copies are read and written, too.
    """

    inputs: torch.Tensor
    mask: torch.Tensor | None
    replay: Step


class DecodeGraphs:
    """The recordings of one model."""

    def __init__(self, forward: Forward, device: torch.device, record: Recorder) -> None:
        self._forward, self._device, self._record = forward, device, record
        self.enabled = True
        self.replays = 0

    def run(self, works: list[StepWork], adapters: Any) -> torch.Tensor | None:
        """Logits `[rows, vocabulary]` in the order of `works`, or None when the step must run
        eagerly.
        """
        slab = steady_slab(works) if self.enabled else None
        if slab is None:
            return None
        ordered = sorted(works, key=lambda work: work.sequence.row.slot)
        recording = self._find(slab, self._shape(slab, ordered, adapters), adapters)
        if recording is None:
            return None
        self._fill(recording, slab, ordered, adapters)
        self.replays += 1
        logits = recording.replay()[: len(works)]
        slots = [work.sequence.row.slot for work in works]
        if slots == list(range(len(works))):
            return logits
        return logits.index_select(0, torch.tensor(slots, device=self._device))

    def record_ahead(self, slab: Slab, adapters: Any) -> None:
        """Record the usual shapes of short answers, so that the first requests need not wait for
        it.
        """
        for rows in ROWS:
            if rows <= min(slab.rows, RECORDED_AHEAD):
                self._find(slab, Shape(rows, min(SHORTEST, slab.length)), adapters)

    def _shape(self, slab: Slab, works: list[StepWork], adapters: Any) -> Shape:
        rows = next((rows for rows in ROWS if rows >= len(works)), slab.rows)
        need = max(work.sequence.computed for work in works) + 1
        tuned = any(work.sequence.adapter != BASE_ADAPTER for work in works)
        return Shape(
            min(rows, slab.rows), round_up(need, slab.length), adapters.version if tuned else 0
        )

    def _find(self, slab: Slab, shape: Shape, adapters: Any) -> Recording | None:
        recordings: dict[Shape, Recording] = slab.recordings
        if shape not in recordings:
            stale = [key for key in recordings if key.adapters not in (0, adapters.version)]
            for key in stale or list(recordings)[: max(0, len(recordings) + 1 - MOST_RECORDINGS)]:
                del recordings[key]
            try:
                recordings[shape] = self._make(slab, shape, adapters)
            except RuntimeError as error:
                self.enabled = False
                log.warning(
                    "decode steps cannot be recorded (%s): they run eagerly", type(error).__name__
                )
                log.debug("why a step cannot be recorded", exc_info=error)
                return None
        return recordings[shape]

    def _make(self, slab: Slab, shape: Shape, adapters: Any) -> Recording:
        fields = 6 if slab.states else 4
        inputs = torch.zeros(fields, shape.rows, dtype=torch.long, device=self._device)
        inputs[2], inputs[4:] = slab.rows * slab.length, slab.rows * COPIES
        mask = adapters.mask([BASE_ADAPTER] * shape.rows) if shape.adapters else None

        def step() -> torch.Tensor:
            # Made anew in every run, for the attention bias follows from the positions.
            decode = Decode(0, shape.rows, shape.rows, shape.length, inputs[1], None)
            states = StateStep([], None, inputs[4], inputs[5]) if slab.states else None
            stage = Stage(slab, 0, shape.rows, inputs[2], decode, [], states)
            with contextlib.nullcontext() if mask is None else adapters.masked(mask):
                return self._forward(inputs[:1], inputs[3:4], [stage])

        return Recording(inputs, mask, self._record(step))

    def _fill(self, recording: Recording, slab: Slab, works: list[StepWork], adapters: Any) -> None:
        """One transfer: everything the step reads."""
        padding = recording.inputs.shape[1] - len(works)
        positions = [work.sequence.computed for work in works]
        values = [
            [work.sequence.tokens[at] for work, at in zip(works, positions, strict=True)]
            + [0] * padding,
            positions + [0] * padding,
            [row * slab.length + at for row, at in enumerate(positions)]
            + [slab.rows * slab.length] * padding,
            [at + work.sequence.row.shift for work, at in zip(works, positions, strict=True)]
            + [0] * padding,
        ]
        if slab.states:
            scratch = [slab.rows * COPIES] * padding
            plans = [work.sequence.row.plan for work in works]
            values += [
                [row * COPIES + plan.read for row, plan in enumerate(plans)] + scratch,
                [row * COPIES + plan.last for row, plan in enumerate(plans)] + scratch,
            ]
        host = torch.tensor(values)
        if self._device.type == "cuda":
            host = host.pin_memory()
        recording.inputs.copy_(host, non_blocking=True)
        if recording.mask is not None:
            keys = [work.sequence.adapter for work in works] + [BASE_ADAPTER] * padding
            recording.mask.copy_(adapters.mask(keys))


def steady_slab(works: list[StepWork]) -> Slab | None:
    """The slab of a step in which rows 0, 1, 2, ... of one slab add one token each; None for any
    other step.
    """
    slab: Slab | None = getattr(works[0].sequence.row, "slab", None)
    if any(
        work.count != 1 or work.all_logits or work.sequence.row.slab is not slab for work in works
    ):
        return None
    # All slots differ: the greatest one tells whether there are holes.
    return slab if max(work.sequence.row.slot for work in works) == len(works) - 1 else None


def round_up(length: int, longest: int) -> int:
    """To 256, 384, 512, 768, 1024, 1536, ... and at most `longest`."""
    size = SHORTEST
    while size < length:
        if size + size // 2 >= length:
            size += size // 2
        else:
            size *= 2
    return min(size, longest)


class CudaRecorder:
    """Records a step as a CUDA graph; all graphs share one memory pool."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """Errors: RuntimeError for what cannot be captured, as a step that waits for the device."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            aside
        ):  # Libraries choose their algorithms and workspaces in a first, eager run.
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            out = step()

        def replay() -> torch.Tensor:
            graph.replay()
            return out

        return replay
