"""From what vLLM's engine gives to `TokenDelta`s: a pure mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from openllm.types import FinishReason, SamplingParams, TokenDelta, TokenLogprob

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "abort": "cancelled",
    "error": "error",
    "repetition": "stop",
}
FAILED = "vLLM failed on this request; see the server's log."


@attrs.frozen
class Wish:
    """What of an answer its reader asked for."""

    stop_token_ids: tuple[int, ...] = ()
    top: int = 0  # alternatives per answer token
    prompt_top: int = 0  # and per prompt token

    @classmethod
    def of(cls, params: SamplingParams) -> Wish:
        return cls(params.stop_token_ids, params.logprobs or 0, params.prompt_logprobs or 0)

    def delta(self, output: Any, choice: Any) -> TokenDelta:
        """One vllm CompletionOutput (`choice`) of a RequestOutput (`output`)."""
        reason = (
            None if choice.finish_reason is None else _REASONS.get(choice.finish_reason, "error")
        )
        stopped = choice.stop_reason if choice.stop_reason in self.stop_token_ids else None
        token_ids = list(choice.token_ids)
        return TokenDelta(
            token_ids,
            choice.index,
            reason,
            stopped if reason == "stop" else None,
            None if choice.logprobs is None else self._logprobs(token_ids, choice.logprobs),
            self._prompt_logprobs(output) if choice.index == 0 else None,
            output.num_cached_tokens or 0,
            FAILED if reason == "error" else None,
        )

    def _logprobs(
        self, token_ids: Sequence[int], positions: Iterable[Mapping[int, Any]]
    ) -> list[TokenLogprob]:
        return [
            token_logprob(token, at, self.top)
            for token, at in zip(token_ids, positions, strict=True)
        ]

    def _prompt_logprobs(self, output: Any) -> list[TokenLogprob | None] | None:
        if not output.prompt_logprobs:  # vLLM gives them once, and an empty list from then on
            return None
        positions = zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)
        return [
            None if at is None else token_logprob(token, at, self.prompt_top)
            for token, at in positions
        ]


def token_logprob(token: int, position: Mapping[int, Any], top: int) -> TokenLogprob:
    """One position: vLLM has the token itself first, then the `top` best, each with its rank (1 is
    the best).
    """
    chosen = position[token]
    best = sorted(
        (entry.rank, other, entry.logprob) for other, entry in position.items() if entry.rank <= top
    )
    return TokenLogprob(
        token, chosen.logprob, chosen.rank, tuple((other, logprob) for _, other, logprob in best)
    )
