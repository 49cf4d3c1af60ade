"""A thought that has used up its budget is closed, whatever the engine does meanwhile; every choice
ends once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.budget import ThinkingBudget
from openllm.answer.reasoning.think import TaggedThought
from openllm.errors import EngineError, OpenLLMError, Overloaded
from openllm.types import (
    Running,
    SamplingParams,
    Sink,
    Structure,
    StructureKind,
    TokenDelta,
    TokenLogprob,
    TokenRequest,
)
from tests.tiny import write_tokenizer

THOUGHT = "it is hot and it is hot and it is hot"
AFTER = Structure(StructureKind.REGEX, "a+")


@attrs.define(eq=False)
class Run:
    """One run of the engine, which writes what the test says."""

    request: TokenRequest
    sink: Sink[TokenDelta]
    cancelled: bool = False
    stopped: list[int] = attrs.field(factory=list)

    def cancel(self) -> None:
        self.cancelled = True

    def stop(self, index: int) -> None:
        self.stopped.append(index)


@attrs.define(eq=False)
class Reader:
    """The sink above."""

    deltas: list[TokenDelta] = attrs.field(factory=list)
    errors: list[OpenLLMError] = attrs.field(factory=list)

    def put(self, delta: TokenDelta) -> None:
        self.deltas.append(delta)

    def fail(self, error: OpenLLMError) -> None:
        self.errors.append(error)

    def ids(self, index: int = 0) -> list[int]:
        return [token for delta in self.deltas if delta.index == index for token in delta.token_ids]


async def settled() -> None:
    """Whatever has been begun is done, and known to be done."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)


@attrs.define(eq=False)
class Setting:
    """An engine, a reader, and a request within a budget between them."""

    tokenizer: Any
    tokens: int = 4
    runs: list[Run] = attrs.field(factory=list)
    reader: Reader = attrs.field(factory=Reader)
    refusal: Exception | None = None  # of every run but the first

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        if self.runs and self.refusal is not None:
            raise self.refusal
        run = Run(request, sink)
        self.runs.append(run)
        return run

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    @property
    def closing(self) -> list[int]:
        return self.ids("\n</think>\n\n")

    def watch(self) -> ChoiceAssembler:
        parser = TaggedThought("<think>")
        return ChoiceAssembler(self.tokenizer, SamplingParams(), [], reasoning=parser)

    async def begin(self, **params: Any) -> Running:
        budget = ThinkingBudget(self.tokens, self.closing, self.watch, AFTER, self.submit)
        asked = SamplingParams(**{"max_tokens": 100, **params})
        return await budget.submit(TokenRequest("r", [7, 8], asked), self.reader)

    async def second(self) -> Run:
        """The second run, once the engine has it."""
        await settled()
        assert len(self.runs) == 2
        return self.runs[-1]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    from tokenizers import Tokenizer

    return Setting(Tokenizer.from_file(str(write_tokenizer(tmp_path / "t") / "tokenizer.json")))


@pytest.mark.parametrize("at_once", [1, 3, 50])
async def test_what_is_beyond_the_budget_is_not_told(setting: Setting, at_once: int) -> None:
    await setting.begin(seed=5, min_tokens=30, logprobs=1, prompt_logprobs=0)
    [first] = setting.runs
    ids = setting.ids(THOUGHT)
    for at in range(0, len(ids), at_once):
        piece = ids[at : at + at_once]
        certain = [TokenLogprob(token, -1.0) for token in piece]
        first.sink.put(TokenDelta(piece, 0, logprobs=certain))
    first.sink.put(TokenDelta([], 0, "stop"))
    assert setting.reader.ids() == ids[:4] + setting.closing
    told = [entry for delta in setting.reader.deltas for entry in delta.logprobs or ()]
    assert [entry.token_id for entry in told] == setting.reader.ids()
    assert {entry.logprob for entry in told[4:]} == {0.0}
    assert first.cancelled
    second = await setting.second()
    written = 4 + len(setting.closing)
    assert second.request.prompt_token_ids == [7, 8, *setting.reader.ids()]
    assert second.request.params == SamplingParams(
        max_tokens=100 - written,
        min_tokens=30 - written,
        seed=5 + written,
        logprobs=1,
        structure=AFTER,
    )
    assert second.request.arrival == first.request.arrival
    second.sink.put(TokenDelta([9], 0, "stop", cached_tokens=3))
    assert setting.reader.deltas[-1] == TokenDelta([9], 0, "stop")


async def test_an_answer_that_has_begun_is_watched_no_more(setting: Setting) -> None:
    setting.tokens = 12
    await setting.begin()
    [first] = setting.runs
    ids = [*setting.ids("hm</think>" + THOUGHT + "<think>" + THOUGHT), 1]
    for token in ids[:-1]:
        first.sink.put(TokenDelta([token], 0))
    first.sink.put(TokenDelta([1], 0, "stop"))
    assert setting.reader.ids() == ids
    assert setting.reader.deltas[-1].finish_reason == "stop"
    assert len(setting.runs) == 1


async def test_choices_leave_the_first_run_one_by_one(setting: Setting) -> None:
    running = await setting.begin(n=3)
    [first] = setting.runs
    for token in setting.ids(THOUGHT):
        first.sink.put(TokenDelta([token], 1))
    assert (first.stopped, first.cancelled) == ([1], False)
    second = await setting.second()
    second.sink.put(TokenDelta([9], 0))
    assert setting.reader.deltas[-1] == TokenDelta([9], 1)
    running.stop(1)
    assert second.cancelled
    second.sink.put(TokenDelta([9], 0))
    assert setting.reader.ids(1)[-2:] == [setting.closing[-1], 9]
    running.stop(0)
    assert (first.stopped, first.cancelled) == ([1, 0], False)
    running.stop(2)
    assert first.cancelled


@pytest.mark.parametrize("begun", [False, True])
async def test_whoever_leaves_ends_every_run(setting: Setting, begun: bool) -> None:
    running = await setting.begin(n=2)
    for token in setting.ids(THOUGHT):
        setting.runs[0].sink.put(TokenDelta([token], 0))
    if begun:
        await setting.second()
    running.cancel()
    await settled()
    assert all(run.cancelled for run in setting.runs)
    told = len(setting.reader.deltas)
    for run in setting.runs:
        run.sink.put(TokenDelta([9], 0))
        run.sink.fail(EngineError("It failed."))
    assert (len(setting.reader.deltas), setting.reader.errors) == (told, [])


@pytest.mark.parametrize("error", [Overloaded("Full."), ValueError("odd")])
async def test_a_second_run_that_is_refused_ends_the_request(
    setting: Setting, error: Exception
) -> None:
    setting.refusal = error
    await setting.begin(n=2)
    for token in setting.ids(THOUGHT):
        setting.runs[0].sink.put(TokenDelta([token], 0))
    await settled()
    [told] = setting.reader.errors
    assert told is error or (isinstance(told, EngineError) and "ValueError" in str(told))
    assert setting.runs[0].cancelled


async def test_an_engine_that_fails_is_told_once(setting: Setting) -> None:
    await setting.begin(n=2)
    for token in setting.ids(THOUGHT):
        setting.runs[0].sink.put(TokenDelta([token], 0))
    second = await setting.second()
    second.sink.fail(EngineError("It failed."))
    setting.runs[0].sink.fail(EngineError("It failed."))
    assert len(setting.reader.errors) == 1


async def test_tokens_may_come_before_the_engine_has_said_that_it_has_the_request(
    setting: Setting,
) -> None:
    async def eager(request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        run = await setting.submit(request, sink)
        for token in setting.ids(THOUGHT) if len(setting.runs) == 1 else [9]:
            sink.put(TokenDelta([token], 0))
        return run

    budget = ThinkingBudget(setting.tokens, setting.closing, setting.watch, None, eager)
    request = TokenRequest("r", [7], SamplingParams(max_tokens=100))
    await budget.submit(request, setting.reader)
    assert setting.runs[0].cancelled
    await setting.second()
    assert setting.reader.ids() == [*setting.ids(THOUGHT)[:4], *setting.closing, 9]
