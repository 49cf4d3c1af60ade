"""One token out of one row of logits, on the host, in vLLM's order: bias, penalties, temperature,
filters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openllm.types import SamplingParams, TokenLogprob

Scores = npt.NDArray[np.float64]
GREEDY = 1e-5  # temperatures below this take the best token


class Sampler:
    """Samples one choice. With a seed its tokens depend on the logits alone, not on what else is
    running.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        ends: Sequence[int],
        seed: int,
        bad: Sequence[Sequence[int]] = (),
    ) -> None:
        """`bad`: token ids of which no run may be completed."""
        self._params = params
        self._random = np.random.default_rng(seed % 2**64)
        self._prompt = np.unique(np.asarray(prompt, np.int64))
        self._closing = np.asarray(
            sorted({*(() if params.ignore_eos else ends), *params.stop_token_ids}), np.int64
        )
        self._bias_ids = np.fromiter(params.logit_bias.keys(), np.int64)
        self._bias = np.fromiter(params.logit_bias.values(), np.float64)
        self._allowed = np.asarray(params.allowed_token_ids, np.int64)
        self._bad = bad

    def pick(self, logits: npt.NDArray[np.float32], answer: Sequence[int]) -> int:
        """The next token after `answer`. `logits` is (vocabulary,) and is left as it is."""
        scores = self._adjusted(logits.astype(np.float64), answer)
        if self._params.temperature < GREEDY:
            return int(scores.argmax())
        weights = _softmax(scores / self._params.temperature)
        for keep in (self._min_p, self._top_k, self._top_p):
            weights = keep(weights)
        edges = weights.cumsum()
        at = int(edges.searchsorted(self._random.random() * edges[-1], side="right"))
        return min(at, int(weights.nonzero()[0][-1]))

    def _adjusted(self, scores: Scores, answer: Sequence[int]) -> Scores:
        params = self._params
        if len(answer) < params.min_tokens:
            scores[self._closing] = -np.inf
        if self._allowed.size:
            scores = _only(scores, self._allowed, -np.inf)
        scores[self._bias_ids] += self._bias
        scores[completing(self._bad, answer)] = -np.inf
        said, counts = np.unique(np.asarray(answer, np.int64), return_counts=True)
        if params.repetition_penalty != 1.0:
            seen = np.union1d(self._prompt, said)
            found = scores[seen]
            scores[seen] = np.where(
                found > 0, found / params.repetition_penalty, found * params.repetition_penalty
            )
        scores[said] -= params.frequency_penalty * counts + params.presence_penalty
        return scores

    def _min_p(self, weights: Scores) -> Scores:
        if self._params.min_p <= 0:
            return weights
        return np.where(weights >= self._params.min_p * weights.max(), weights, 0.0)

    def _top_k(self, weights: Scores) -> Scores:
        size = self._params.top_k
        return _only(weights, _best(weights, size)) if 0 < size < weights.size else weights

    def _top_p(self, weights: Scores) -> Scores:
        if self._params.top_p >= 1:
            return weights
        order = np.argsort(-weights, kind="stable")
        before = np.concatenate(([0.0], weights[order].cumsum()[:-1]))
        return _only(weights, order[before < self._params.top_p * weights.sum()])


def token_logprob(logits: npt.NDArray[np.float32], token_id: int, top: int) -> TokenLogprob:
    """The log probability of `token_id`, its rank and the `top` best, from raw logits."""
    scores = logits.astype(np.float64)
    high = scores.max()
    scores -= high + np.log(np.exp(scores - high).sum())
    best = tuple((int(at), float(scores[at])) for at in _best(scores, min(top, scores.size)))
    return TokenLogprob(
        token_id, float(scores[token_id]), 1 + int((scores > scores[token_id]).sum()), best
    )


def _softmax(scores: Scores) -> Scores:
    weights: Scores = np.exp(scores - scores.max())
    weights /= weights.sum()
    return weights


def _best(scores: Scores, size: int) -> npt.NDArray[np.int64]:
    """The ids of the `size` highest, best first, the lower id first among equals."""
    if size <= 0:
        return np.empty(0, np.int64)
    edge = np.partition(scores, scores.size - size)[scores.size - size]
    candidates: npt.NDArray[np.int64] = (scores >= edge).nonzero()[0]
    return candidates[np.argsort(-scores[candidates], kind="stable")[:size]]


def completing(bad: Sequence[Sequence[int]], answer: Sequence[int]) -> list[int]:
    """The tokens that would complete one of the runs `bad`, coming after `answer`."""
    found = []
    for run in bad:
        before = len(run) - 1
        if before == 0 or list(answer[-before:]) == list(run[:-1]):
            found.append(run[-1])
    return found


def _only(weights: Scores, ids: npt.NDArray[np.int64], other: float = 0.0) -> Scores:
    kept = np.full_like(weights, other)
    kept[ids] = weights[ids]
    return kept
