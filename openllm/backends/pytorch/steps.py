"""Compute one step's work: forward, draw, describe; when it fails, row by row, so that only the
guilty one fails.
"""

from __future__ import annotations

import logging
import time

import attrs
import torch

from openllm.backends.grammar.guide import exchange
from openllm.backends.pytorch.forward.executor import Executor
from openllm.backends.pytorch.lora.adapters import AdapterBank
from openllm.backends.pytorch.sampling.logprobs import describe
from openllm.backends.pytorch.sampling.sampler import BatchSampler, Drawn
from openllm.backends.pytorch.sequence import StepWork
from openllm.types import TokenLogprob

log = logging.getLogger(__name__)

# How long a step waits for masks when all else is done: as long as half of the model's pass took
# (a late row must repeat it), at least the first and at most the second number.
MASK_SECONDS = 0.002, 0.05

# What a model or a tensor operation raises when it cannot do what a row asks.
STEP_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
)


@attrs.frozen
class Outcome:
    """What one step gave one sequence."""

    work: StepWork
    drawn: Drawn | None = None
    prompt_logprobs: list[TokenLogprob | None] | None = None
    error: str | None = None
    late: bool = False  # it was to draw, and what may come next was not known yet


class StepComputer:
    """Turns work into outcomes, in the order of the work."""

    def __init__(self, executor: Executor, sampler: BatchSampler, adapters: AdapterBank) -> None:
        self._executor, self._sampler, self._adapters = executor, sampler, adapters

    def compute(self, works: list[StepWork]) -> list[Outcome]:
        """Errors: only those that mean the device itself is lost."""
        if not works:
            return []
        try:
            return self._evaluate(works)
        except STEP_ERRORS as error:
            self._sampler.forget()
            if is_fatal(error):
                raise
            if len(works) > 1:
                log.warning(
                    "a step of %d rows failed (%s): trying them one by one",
                    len(works),
                    type(error).__name__,
                )
                return [outcome for work in works for outcome in self.compute([work])]
            log.warning("a request failed: %s", type(error).__name__)
            log.debug("how it failed", exc_info=error)
            return [
                Outcome(
                    works[0], error=f"The engine failed on this request ({type(error).__name__})."
                )
            ]

    def _evaluate(self, works: list[StepWork]) -> list[Outcome]:
        begun = time.monotonic()
        logits, spans = self._executor.forward(works, self._adapters)
        late = _await_masks(works, (time.monotonic() - begun) / 2)
        drawing = [at for at, work in enumerate(works) if work.draws and at not in late]
        drawn: dict[int, Drawn] = {}
        if drawing:
            rows = (
                logits
                if len(drawing) == logits.shape[0]
                else _last_rows(logits, [spans[at] for at in drawing])
            )
            sequences = [works[at].sequence for at in drawing]
            drawn = dict(zip(drawing, self._sampler.sample(rows, sequences), strict=True))
        return [
            Outcome(
                work,
                drawn.get(at),
                _describe_prompt(work, logits[spans[at]]) if work.all_logits else None,
                late=at in late,
            )
            for at, work in enumerate(works)
        ]


def _await_masks(works: list[StepWork], seconds: float) -> set[int]:
    """Which of the works that draw cannot: what may come next is not known. Masks are computed
    while the model runs; a row whose mask takes longer lets the others go on.
    """
    guided = {
        at: work.sequence.guide
        for at, work in enumerate(works)
        if work.draws and work.sequence.guide is not None
    }
    least, most = MASK_SECONDS
    exchange(guided.values(), min(max(seconds, least), most))
    for guide in guided.values():
        guide.late = not guide.ready
    return {at for at, guide in guided.items() if not guide.knows}


def _last_rows(logits: torch.Tensor, spans: list[slice]) -> torch.Tensor:
    return logits[torch.tensor([span.stop - 1 for span in spans], device=logits.device)]


def _describe_prompt(work: StepWork, logits: torch.Tensor) -> list[TokenLogprob | None]:
    """The logprob of each prompt token that the positions of this chunk predict."""
    sequence = work.sequence
    begin = sequence.computed + 1
    targets = sequence.tokens[begin : min(begin + work.count, sequence.prompt_length)]
    count = sequence.params.prompt_logprobs or 0
    if not targets:
        return []
    return list(describe(logits[: len(targets)], targets, [count] * len(targets)))


def is_fatal(error: BaseException) -> bool:
    """Whether the device is lost: after such an error every further operation on it fails too."""
    accelerator = getattr(torch, "AcceleratorError", None)
    return (accelerator is not None and isinstance(error, accelerator)) or "CUDA error" in str(
        error
    )
