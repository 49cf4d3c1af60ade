"""The questions of one exchange answered with probabilities, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from openllm.errors import EngineError
from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.running import Work, admit, finished, total_usage
from openllm.llm.deciding import TOP, NextToken, answer_start, chances, codes, with_question
from openllm.types import Conversation, TokenLogprob, Usage

AT_ONCE = 64  # requests that the engine is given together


@attrs.frozen
class Decision:
    """A question with a few possible answers."""

    question: str
    answers: tuple[str, ...]  # what each of them says, 2 to 260

    @property
    def text(self) -> str:
        """As the model reads it."""
        listed = zip(codes(len(self.answers)), self.answers, strict=True)
        lines = "\n".join(f"{code}) {answer}" for code, answer in listed)
        end = "Answer with the code of the right answer alone."
        return f"{self.question}\n\n{lines}\n\n{end}"


async def decide(
    exchange: Exchange, target: Target, asked: Conversation, decisions: Sequence[Decision]
) -> tuple[list[list[float]], Usage]:
    """For each question the probabilities of its answers, and what the engine read and wrote for
    all of them. Errors: those of `LLM.admit` and of the engine, ClientGone.
    """
    llm = target.llm
    exchange.model = llm.name
    engine = _SingleTokens(exchange, target)
    async with exchange.client_present():
        prompts = [
            await answer_start(llm, with_question(asked, one.text), target.adapter)
            for one in decisions
        ]
        counts = [len(one.answers) for one in decisions]
        found = await chances(llm, prompts, counts, engine.ask)
    return found, total_usage(engine.usages)


@attrs.define
class _SingleTokens:
    """The engine as it is asked for single tokens, and what that has used."""

    exchange: Exchange
    target: Target
    usages: list[Usage] = attrs.field(factory=list)

    async def ask(self, probes: Sequence[NextToken]) -> list[TokenLogprob]:
        """As of `openllm.llm.deciding.Ask`. Errors: those of `respond`."""
        found: list[TokenLogprob] = []
        for at in range(0, len(probes), AT_ONCE):
            found += await self._together(probes[at : at + AT_ONCE])
        return found

    async def _together(self, probes: Sequence[NextToken]) -> list[TokenLogprob]:
        works = [Work(self.target, [one.prompt], _sampling(one)) for one in probes]
        generations = [
            generation for work in works for generation in await admit(self.exchange, work)
        ]
        outputs = await finished(self.exchange, generations)
        self.usages += [output.usage for output in outputs]
        tokens = [output.outputs[0].logprobs for output in outputs]
        if not all(tokens):
            raise EngineError("The engine gave no log probabilities.", hint="Try again.")
        return [one[0] for one in tokens if one]


def _sampling(probe: NextToken) -> dict[str, Any]:
    """Parameters by the names of SamplingParams: one token, as the model's own probabilities have
    it.
    """
    free: dict[str, Any] = {
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": TOP,
        "ignore_eos": True,
        "repetition_penalty": 1.0,
    }
    return (
        free if probe.only is None else {**free, "logprobs": 0, "allowed_token_ids": (probe.only,)}
    )
