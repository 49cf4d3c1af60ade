"""Draw the next token of every row at once, each by its own parameters; a row's answer never
depends on the batch.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
import torch

from openllm.backends.pytorch.sampling import logits as maths
from openllm.backends.pytorch.sampling.bans import Bans
from openllm.backends.pytorch.sampling.logprobs import describe
from openllm.backends.pytorch.sampling.masks import apply_masks
from openllm.backends.pytorch.sequence import Sequence
from openllm.types import SamplingParams, TokenLogprob


@attrs.frozen
class Drawn:
    """One row's new token; `token` is None when the logits were not numbers."""

    token: int | None
    logprob: TokenLogprob | None = None


class BatchSampler:
    """Keeps the device tensors of the last batch, for in most steps the same rows come again."""

    def __init__(self, width: int, device: torch.device, eos_token_ids: tuple[int, ...]) -> None:
        self.width, self.device, self.eos = width, device, eos_token_ids
        self._batch: _Batch | None = None

    def sample(self, logits: torch.Tensor, rows: list[Sequence]) -> list[Drawn]:
        """`logits [rows, vocabulary]` as the model gave them -> one Drawn per row. One transfer to
        the host.
        """
        batch = self._batch_of(rows)
        tokens = batch.choose(logits, rows).tolist()
        batch.count(tokens)
        logprobs = self._describe(logits, tokens, batch)
        limit = logits.shape[-1]
        return [
            Drawn(token if token < limit else None, logprobs.get(at))
            for at, token in enumerate(tokens)
        ]

    def forget(self) -> None:
        """Drop what is kept of the last batch: its counts may be ahead after a failed step."""
        self._batch = None

    def _batch_of(self, rows: list[Sequence]) -> _Batch:
        key = tuple((row.order, row.below_minimum) for row in rows)
        if self._batch is None or self._batch.key != key or not self._batch.follows(rows):
            self._batch = _Batch(key, rows, self)
        return self._batch

    def _describe(
        self, logits: torch.Tensor, tokens: list[int], batch: _Batch
    ) -> dict[int, TokenLogprob]:
        wanted = [at for at in batch.logprob_rows if tokens[at] < logits.shape[-1]]
        if not wanted:
            return {}
        chosen, counts = (
            [tokens[at] for at in wanted],
            [batch.params[at].logprobs or 0 for at in wanted],
        )
        picked = (
            logits
            if len(wanted) == len(tokens)
            else logits[torch.tensor(wanted, device=logits.device)]
        )
        return dict(zip(wanted, describe(picked, chosen, counts), strict=True))


class _Batch:
    """The parameters of some rows as tensors on the device."""

    def __init__(
        self, key: tuple[tuple[int, bool], ...], rows: list[Sequence], owner: BatchSampler
    ) -> None:
        self.key, self.device = key, owner.device
        self.params = [row.params for row in rows]
        self.seeds = np.array([row.seed % 2**64 for row in rows], dtype=np.uint64)
        self.logprob_rows = [
            at for at, params in enumerate(self.params) if params.logprobs is not None
        ]
        self._lengths = [len(row.tokens) for row in rows]
        self._greedy = [params.temperature < MIN_TEMPERATURE for params in self.params]
        self._grammars = any(row.guide is not None for row in rows)
        self._edits = self._list_edits(rows, owner.eos)
        self._penalised = [at for at, params in enumerate(self.params) if _penalises(params)]
        self._truncated = [
            at
            for at, params in enumerate(self.params)
            if _truncates(params) and not self._greedy[at]
        ]
        self._bans = Bans(rows, owner.width, owner.device)
        self.plain = not (self._edits or self._penalised or self._grammars or self._bans.some)
        self._fill_tensors(rows, owner.width)

    def _list_edits(
        self, rows: list[Sequence], eos: tuple[int, ...]
    ) -> list[tuple[int, int, float]]:
        """(row, token, amount added): logit_bias, and the ban on ends before min_tokens."""
        edits = []
        for at, row in enumerate(rows):
            edits += [(at, token, amount) for token, amount in row.params.logit_bias.items()]
            if row.below_minimum and row.guide is None:  # A grammar alone decides when it ends.
                edits += [(at, token, -math.inf) for token in {*eos, *row.params.stop_token_ids}]
        return edits

    def _fill_tensors(self, rows: list[Sequence], width: int) -> None:
        def column(values: list[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=self.device)[:, None]

        params = self.params
        self._all_greedy, self._any_greedy = all(self._greedy), any(self._greedy)
        if not self._all_greedy:
            heats = [
                1.0 if cold else row.temperature
                for cold, row in zip(self._greedy, params, strict=True)
            ]
            self._temperature = column(heats)
            self._cold = column(list(map(float, self._greedy)), torch.bool)[:, 0]
        if self._truncated:
            chosen = [params[at] for at in self._truncated]
            self._truncated_rows = torch.tensor(self._truncated, device=self.device)
            top_k = [item.top_k if 0 < item.top_k < width else width for item in chosen]
            self._top_k = column(list(map(float, top_k)), torch.long)
            self._top_p, self._min_p = (
                column([i.top_p for i in chosen]),
                column([i.min_p for i in chosen]),
            )
        if self._edits:
            where, tokens, amounts = zip(*self._edits, strict=True)
            self._edit_at = (
                torch.tensor(where, device=self.device),
                torch.tensor(tokens, device=self.device),
            )
            self._edit_by = torch.tensor(amounts, device=self.device)
        if self._penalised:
            self._fill_counts([rows[at] for at in self._penalised], width)

    def _fill_counts(self, rows: list[Sequence], width: int) -> None:
        def count(tokens: list[int]) -> torch.Tensor:
            return torch.bincount(torch.tensor(tokens, dtype=torch.long), minlength=width)[:width]

        self._penalised_rows = torch.tensor(self._penalised, device=self.device)
        answers = torch.stack([count(row.tokens[row.prompt_length :]) for row in rows])
        self._counts = answers.to(self.device, torch.float32)
        prompts = torch.stack([count(row.tokens[: row.prompt_length]) > 0 for row in rows])
        self._seen = prompts.to(self.device)
        factors = [
            (item.repetition_penalty, item.frequency_penalty, item.presence_penalty)
            for item in (row.params for row in rows)
        ]
        self._factors = torch.tensor(factors, device=self.device)

    def follows(self, rows: list[Sequence]) -> bool:
        """Whether the rows are where the last draw left them, so that the counts are right."""
        return self._lengths == [len(row.tokens) for row in rows]

    def count(self, tokens: list[int]) -> None:
        """Note the tokens just drawn."""
        self._lengths = [length + 1 for length in self._lengths]
        if self._penalised:
            drawn = torch.tensor([tokens[at] for at in self._penalised], device=self.device)
            drawn = drawn.clamp_(max=self._counts.shape[1] - 1)[:, None]
            self._counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float32))

    def choose(self, logits: torch.Tensor, rows: list[Sequence]) -> torch.Tensor:
        """Token ids `[rows]` on the device; the vocabulary's size stands for "none: the logits are
        no numbers".
        """
        scores = logits if self.plain else self._edit(logits, rows)
        if self._any_greedy:
            best, coldest = scores.max(-1)
            # NaN, or nothing left to choose from.
            coldest = torch.where(best > float("-inf"), coldest, logits.shape[-1])
            if self._all_greedy:
                return coldest
        heated = scores.float() / self._temperature
        if self._truncated:
            heated = self._truncate(heated)
        steps = np.array([row.generated for row in rows], dtype=np.uint64)
        chance = torch.from_numpy(maths.uniform(self.seeds, steps)).to(self.device)[:, None]
        drawn = maths.draw(heated, chance)
        return torch.where(self._cold, coldest, drawn) if self._any_greedy else drawn

    def _edit(self, logits: torch.Tensor, rows: list[Sequence]) -> torch.Tensor:
        scores = logits.float() if logits.dtype != torch.float32 else logits.clone()
        if self._grammars:
            apply_masks(scores, [row.guide for row in rows])
        if self._edits:
            scores.index_put_(self._edit_at, self._edit_by, accumulate=True)
        if self._bans.some:
            self._bans.apply(scores, rows)
        if self._penalised:
            at = self._penalised_rows
            scores[at] = maths.penalise(scores[at], self._counts, self._seen, self._factors)
        return scores

    def _truncate(self, heated: torch.Tensor) -> torch.Tensor:
        limits = (self._top_k, self._top_p, self._min_p)
        if len(self._truncated) == len(self.params):
            return maths.truncate(heated, *limits)
        at = self._truncated_rows
        heated[at] = maths.truncate(heated[at], *limits)
        return heated


MIN_TEMPERATURE = 1e-5  # below it a row is greedy: dividing by less overflows


def _penalises(params: SamplingParams) -> bool:
    return (
        params.repetition_penalty != 1.0
        or params.frequency_penalty != 0.0
        or params.presence_penalty != 0.0
    )


def _truncates(params: SamplingParams) -> bool:
    return params.top_k > 0 or params.top_p < 1.0 or params.min_p > 0.0
