"""Try an executor on random tokens before the first request, against the model's own forward pass
and against itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import torch

from openllm.backends.base import join
from openllm.backends.pytorch.forward.executor import Executor, PrefixCounts
from openllm.backends.pytorch.forward.flat import FlatExecutor
from openllm.backends.pytorch.forward.seeing import SeeingExecutor
from openllm.backends.pytorch.forward.solo import LOGITS, SoloExecutor, begin_prompt
from openllm.backends.pytorch.loading.loader import LoadedModel
from openllm.backends.pytorch.lora.adapters import AdapterBank
from openllm.backends.pytorch.sequence import Job, Sequence, Sight, StepWork
from openllm.backends.pytorch.steps import STEP_ERRORS
from openllm.backends.stream import Inbox
from openllm.media.processor import Looked
from openllm.types import SamplingParams, TokenRequest

# Tokens of the text: more than the windows and scales of tiny models, little to compute.
LENGTH = 48
BESIDE = 5  # tokens of a second sequence in the same steps
BEHIND = 3  # tokens behind a prompt with an image


def rehearsal_tokens(loaded: LoadedModel, most: int) -> list[int]:
    """Random token ids, the same in every process; at most `most`."""
    generator = torch.Generator().manual_seed(0)
    length = max(8, min(LENGTH, most - 1))
    drawn = torch.randint(0, loaded.vocab_size, (length,), generator=generator)
    return [int(token) for token in drawn]


def rehearse_flat(
    executor: FlatExecutor, loaded: LoadedModel, tokens: list[int], expected: torch.Tensor
) -> str | None:
    """Run the tokens in parts, beside a second sequence, and compare with the model's own logits
    `[tokens, vocabulary]`; why they differ, or None.
    """
    whole, beside = _sequence(tokens), _sequence(tokens[:BESIDE])
    bank = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    found, others = [], []
    wanted = [expected]
    try:
        if not executor.begin(whole):
            return "no slot could be allocated"
        # Memory may be for one alone, and a short text is another one than a long one's beginning.
        mixed = executor.short is not None and len(tokens) > executor.short
        company = not mixed and executor.begin(beside)
        # the other one begins with a prompt whose last token draws, and goes on
        steps = [(5, 0), (len(tokens) - 7, BESIDE), (1, 1), (1, 0)]
        for count, other in steps if executor.chunks else [(len(tokens) - 2, BESIDE), *steps[2:]]:
            works = [StepWork(whole, count, all_logits=True)]
            if company and other:
                beside.tokens = tokens[: beside.computed + other]
                works.append(StepWork(beside, other))
                wanted.append(expected[len(beside.tokens) - 1 :][:1])
            logits, spans = executor.forward(works, bank)
            found.append(logits[spans[0]])
            others += [logits[span] for span in spans[1:]]
            whole.computed += count
            beside.computed += other
        # Positions are ours to say: a model that reckons them from its cache is wrong late in a
        # text, and shows it here as soon as the cache says that it is long.
        whole.computed -= 1
        executor.claim_length(loaded.context // 2)
        late, _ = executor.forward([StepWork(whole, 1)], bank)
    except STEP_ERRORS as error:
        return f"its attention is not transformers' common one ({_said(error)})"
    finally:
        executor.claim_length(0)
        _forget(executor, whole, beside)
    if (off := difference(torch.cat(found + others), torch.cat(wanted))) is None:
        off = difference(late, expected[-1:])
    return None if off is None else f"attention over slots {off}"


def rehearse_alone(executor: SoloExecutor, loaded: LoadedModel, tokens: list[int]) -> str | None:
    """Step through the tokens twice, the second time with another sequence in between: what is
    wrong, or None.
    """
    bank = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    answers = []
    try:
        for company in (False, True):
            whole, beside = _sequence(tokens), _sequence(tokens[:BESIDE])
            found = []
            for count in (len(tokens) - 3, 1, 1, 1):
                works = [StepWork(whole, count)]
                if company:
                    other = BESIDE - 3 if beside.computed == 0 else 1
                    works.append(StepWork(beside, other))
                logits, spans = executor.forward(works, bank)
                found.append(logits[spans[0]])
                whole.computed += count
                beside.computed += works[-1].count
            answers.append(torch.cat(found))
            _forget(executor, whole, beside)
    except STEP_ERRORS as error:
        return f"it fails on a text of {len(tokens)} tokens ({_said(error)})"
    off = difference(answers[1], answers[0])
    return None if off is None else f"its answer beside another one {off}"


def rehearse_images(
    executor: SeeingExecutor | SoloExecutor, loaded: LoadedModel, looked: Looked
) -> str | None:
    """Run a prompt with an image, and a text beside its end, against the model's own pass over
    each: what is wrong, or None.
    """
    bank = AdapterBank(loaded.model, loaded.device, loaded.dtype)
    tokens, sight = looked.token_ids, Sight("rehearsal", looked.end, looked.features)
    words = tokens[-BEHIND:]
    whole, beside = _sequence(tokens[:-BEHIND], sight), _sequence(words)
    try:
        expected = _own_logits(loaded, tokens, sight)
        wanted, found, others = [expected[: whole.prompt_length]], [], []
        if not executor.begin(whole):
            return "no slot could be allocated"
        company = executor.begin(beside)
        while whole.computed < len(tokens):
            count = executor.portion(whole, whole.remaining, len(tokens))
            works = [StepWork(whole, count, all_logits=whole.generated == 0)]
            if company and beside.computed == 0 and whole.computed:
                works.append(StepWork(beside, len(words)))
            logits, spans = executor.forward(works, bank)
            found.append(logits[spans[0]])
            others += [logits[span] for span in spans[1:]]
            whole.computed += count
            beside.computed += sum(work.count for work in works[1:])
            if whole.remaining == 0 and len(whole.tokens) < len(tokens):
                whole.tokens.append(tokens[len(whole.tokens)])
                wanted.append(expected[len(whole.tokens) - 1 :][:1])
        if others:
            wanted.append(_own_logits(loaded, words, None)[-1:])
    except STEP_ERRORS as error:
        return f"it fails on an image ({_said(error)})"
    finally:
        _forget(executor, whole, beside)
    off = difference(torch.cat(found + others), torch.cat(wanted))
    return None if off is None else f"its answer to an image {off}"


def _own_logits(loaded: LoadedModel, tokens: list[int], sight: Sight | None) -> torch.Tensor:
    """The logits `[tokens, vocabulary]` of the model's own pass over a prompt."""
    ids = torch.tensor([tokens], device=loaded.device)
    memory = begin_prompt(loaded.model, ids, 1, sight=sight)
    inputs = loaded.model.prepare_inputs_for_generation(
        ids, next_sequence_length=len(tokens), is_first_iteration=True, **memory.keywords
    )
    inputs.pop(LOGITS, None)
    logits: torch.Tensor = loaded.model(**inputs, return_dict=True).logits[0]
    return logits


def difference(found: torch.Tensor, expected: torch.Tensor) -> str | None:
    """How logits differ from what was expected, beyond what rounding explains; None when they do
    not.
    """
    if found.shape != expected.shape:
        return f"has logits of the shape {tuple(found.shape)}"
    tolerance = 1e-3 if expected.dtype == torch.float32 else 0.1
    off = float((found.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-6))
    return None if off < tolerance else f"is off by {off:.2g}"


def _said(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"


def _forget(executor: Executor, *sequences: Sequence) -> None:
    for sequence in sequences:
        executor.release(sequence, reuse=False)
    executor.prefixes = PrefixCounts()


def _sequence(tokens: list[int], sight: Sight | None = None) -> Sequence:
    request = TokenRequest("rehearsal", tokens, SamplingParams(max_tokens=1))
    loop: Any = asyncio.new_event_loop()
    job = Job(request, Inbox(join), loop, sight=sight)
    loop.close()
    job.sequences = [Sequence(job, 0, list(tokens), len(tokens), 0)]
    return job.sequences[0]
