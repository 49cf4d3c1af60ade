"""Probabilities of a question's answers: from the likeliest tokens, and from those asked for one by
one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from openllm.llm.deciding import (
    LETTERS,
    TOP,
    NextToken,
    answer_start,
    chances,
    codes,
    softmax,
    starts_of,
    with_question,
)
from openllm.llm.llm import LLM
from openllm.types import Conversation, Message, TokenLogprob
from tests.protocols.conftest import echo_llm
from tests.scripted import TEMPLATE, Scripted
from tests.serving import write_echo_model


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return echo_llm(write_echo_model(tmp_path_factory.mktemp("deciding") / "model"))


@attrs.define
class Engine:
    """Gives the log probabilities that it is told, `logs` by the last token of the prompt."""

    logs: dict[int, dict[int, float]]
    asked: list[NextToken] = attrs.field(factory=list)

    async def ask(self, probes: Sequence[NextToken]) -> list[TokenLogprob]:
        self.asked += probes
        return [self._answer(one) for one in probes]

    def _answer(self, probe: NextToken) -> TokenLogprob:
        logs = self.logs[probe.prompt[-1]]
        if probe.only is not None:
            return TokenLogprob(probe.only, logs[probe.only])
        best = sorted(logs.items(), key=lambda item: -item[1])[:TOP]
        return TokenLogprob(*best[0], 1, tuple(best))


def test_answers_have_codes_that_no_other_begins_with() -> None:
    assert codes(2) == ("A", "B")
    assert codes(26) == tuple(LETTERS)
    assert codes(255)[:2] == ("A0", "A1")
    assert len(set(codes(255))) == 255


def test_probabilities_are_of_the_answers_alone(llm: LLM) -> None:
    (first, *_), (second, *_), (third, *_) = starts_of(llm, "ABC")
    logs = {first: math.log(0.2), second: math.log(0.1), 999: math.log(0.6)}
    engine = Engine({7: logs | {third: math.log(0.1)}})
    found = asyncio.run(chances(llm, [[7]], [3], engine.ask))
    assert found == [pytest.approx([0.5, 0.25, 0.25])]
    assert engine.asked == [NextToken([7])]


def test_an_answer_that_is_unlikely_is_asked_for_alone(llm: LLM) -> None:
    (first, *_), (second, *_) = starts_of(llm, "AB")
    crowd = {1000 + at: math.log(0.01) for at in range(TOP)}
    engine = Engine({7: {**crowd, first: math.log(3e-6), second: math.log(1e-6)}})
    found = asyncio.run(chances(llm, [[7], [7]], [2, 2], engine.ask))
    assert found == [pytest.approx([0.75, 0.25])] * 2
    assert engine.asked[2:] == [NextToken([7], first), NextToken([7], second)] * 2


def test_many_answers_are_told_apart_by_a_second_token(llm: LLM) -> None:
    letters, digits = starts_of(llm, LETTERS), starts_of(llm, "0123456789")
    count = 27  # A0 to C6
    logs = {letters[at][0]: math.log(share) for at, share in enumerate((0.5, 0.3, 0.2))}
    flat = {tokens[0]: math.log(0.1) for tokens in digits}
    engine = Engine({7: logs, **{letters[at][0]: flat for at in range(3)}})
    [found] = asyncio.run(chances(llm, [[7]], [count], engine.ask))
    assert len(found) == count
    assert sum(found) == pytest.approx(1)
    assert found[0] == pytest.approx(0.05)
    assert found[10] == pytest.approx(0.03)
    assert found[-1] == pytest.approx(0.2 / 7)


def test_nothing_likely_is_all_the_same() -> None:
    assert softmax([-math.inf, -math.inf]) == [0.5, 0.5]
    assert softmax([-1000.0, -1000.0]) == pytest.approx([0.5, 0.5])


def test_a_question_joins_the_users_last_turn() -> None:
    user, said = Message("user", "A box."), Message("assistant", "Yes.")
    joined = with_question(Conversation((said, user)), "Right?")
    assert joined.messages == (said, Message("user", "A box.\n\nRight?"))
    apart = with_question(Conversation((user, said)), "Right?")
    assert apart.messages == (user, said, Message("user", "Right?"))


HARMONY = "<|start|>user<|message|>{{ messages[-1].content }}<|channel|><|start|>assistant"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (TEMPLATE + "<think>", "<think>\n</think>\n\n"),
        (TEMPLATE, "<|assistant|>"),
        (HARMONY, "<|start|>assistant<|channel|>final<|message|>"),
    ],
)
def test_an_answer_starts_behind_the_thought(tmp_path: Path, template: str, end: str) -> None:
    llm = Scripted(write_echo_model(tmp_path / "model"), template).llm
    asked = Conversation((Message("user", "Right?"),))

    async def started() -> list[int]:
        await llm.start()
        try:
            return await answer_start(llm, asked, None)
        finally:
            await llm.aclose()

    text = llm.tokenizer.decode(asyncio.run(started()))
    assert text.replace("\n", "").endswith(end.replace("\n", ""))
