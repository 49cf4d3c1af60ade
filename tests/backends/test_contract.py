"""One contract, every engine: the same requests, the same shapes, the same tokens, the same
errors.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from openllm.answer.generation import Generation, collect, join_text
from openllm.backends.base import Backend
from openllm.backends.echo.backend import EchoBackend
from openllm.backends.select import find_backend
from openllm.backends.stream import pull
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    ContextLengthExceeded,
    EngineDead,
    InvalidRequest,
    OpenLLMError,
    Overloaded,
    UnsupportedFeature,
)
from openllm.facts import backend_names
from openllm.llm.llm import LLM
from openllm.remote.child import ChildBackend
from openllm.types import (
    AnswerDelta,
    GenerationRequest,
    RequestOptions,
    SamplingParams,
    Structure,
    StructureKind,
)
from tests.backends.engines import engine_params, repeats
from tests.backends.reference import Reference, model_directory

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT = 256
TEXT = "the quick brown fox jumps over the lazy dog"
# "runner" is the pytorch engine in a process of its own.
ENGINES = engine_params((*backend_names(), "runner"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("contract") / "model")


@pytest.fixture(scope="module")
def reference(weights: Path) -> Reference:
    return Reference(weights)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def llm(request: pytest.FixtureRequest, weights: Path) -> AsyncIterator[LLM]:
    name = "pytorch" if request.param == "runner" else request.param
    spec = LLMSpec(
        model_id=str(weights),
        backend=name,
        dtype="float32",
        max_model_len=CONTEXT,
        max_num_seqs=8,
        max_queue=64,
        engine_args={"delay": 0.002} if issubclass(find_backend(name), EchoBackend) else {},
    )
    if why := find_backend(name).unusable(spec, Settings()):
        pytest.skip(why)
    async with LLM.from_spec(
        spec, make_engine=in_child if request.param == "runner" else None
    ) as llm:
        yield llm


def in_child(spec: LLMSpec, weights_dir: Path) -> tuple[Backend, str]:
    """The engine of `spec` behind a socket."""
    return ChildBackend(spec, weights_dir), "for this test"


def real(llm: LLM) -> None:
    if repeats(llm):
        pytest.skip("this engine has no model")


async def deltas_of(llm: LLM, prompt: Any, **params: Any) -> list[AnswerDelta]:
    generation = await llm.admit(GenerationRequest(prompt, llm.sampling_params(**params)))
    return [delta async for delta in pulled(generation)]


def pulled(generation: Generation) -> AsyncGenerator[AnswerDelta]:
    return pull(generation.begin, generation.choices, join_text)


async def idle(llm: LLM, seconds: float = 5.0) -> bool:
    """Whether the engine holds nothing any more within `seconds`."""
    for _ in range(int(seconds / 0.02)):
        stats = llm.stats()
        if stats.running == stats.waiting == 0:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_greedy_tokens_equal_the_reference(llm: LLM, reference: Reference) -> None:
    real(llm)
    for prompt in (TEXT, "a", "one two three " * 12):
        output = await llm.generate(prompt, temperature=0, max_tokens=24, ignore_eos=True)
        reference.assert_greedy(output.prompt_token_ids, output.outputs[0].token_ids)


async def test_many_at_once_give_the_tokens_of_one_at_a_time(
    llm: LLM, reference: Reference
) -> None:
    real(llm)
    prompts = [f"{TEXT} {'again ' * size}" for size in range(12)]
    outputs = await asyncio.gather(
        *(
            llm.generate(p, temperature=0, max_tokens=8 + i, ignore_eos=True)
            for i, p in enumerate(prompts)
        )
    )
    for size, output in enumerate(outputs):
        assert len(output.outputs[0].token_ids) == 8 + size
        reference.assert_greedy(output.prompt_token_ids, output.outputs[0].token_ids)


async def test_length_and_usage(llm: LLM) -> None:
    output = await llm.generate(TEXT, max_tokens=5, ignore_eos=True, temperature=0)
    assert output.outputs[0].finish_reason == "length"
    assert len(output.outputs[0].token_ids) == 5
    assert output.usage.completion_tokens == 5
    assert output.usage.prompt_tokens == len(output.prompt_token_ids) > 0
    assert output.usage.total_tokens == output.usage.prompt_tokens + 5


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self, choices: int) -> None:
        self.deltas: list[AnswerDelta] = []
        self.over = asyncio.Event()
        self._left = choices

    def put(self, delta: AnswerDelta) -> None:
        self.deltas.append(delta)
        self._left -= delta.finish_reason is not None
        if not self._left:
            self.over.set()

    def fail(self, error: OpenLLMError) -> None:
        raise error

    def tokens(self, index: int) -> list[int]:
        return [token for delta in self.deltas if delta.index == index for token in delta.token_ids]


@pytest.mark.parametrize("params", [{}, {"logprobs": 1}, {"n": 2}, {"stop": ["\0never"]}])
async def test_a_pushed_answer_is_the_whole(llm: LLM, params: dict[str, Any]) -> None:
    asked = {"temperature": 0, "max_tokens": 24, "ignore_eos": True, **params}
    whole = await llm.generate(TEXT, **asked)
    generation = await llm.admit(GenerationRequest(TEXT, llm.sampling_params(**asked)))
    kept = Kept(generation.choices)
    await generation.begin(kept)
    await kept.over.wait()
    assert len(whole.outputs) == generation.choices
    for choice in whole.outputs:
        assert kept.tokens(choice.index) == choice.token_ids
        texts = [delta.text for delta in kept.deltas if delta.index == choice.index]
        assert "".join(texts) == choice.text
        ends = [delta.finish_reason for delta in kept.deltas if delta.index == choice.index]
        assert ends == [None] * (len(ends) - 1) + ["length"]
    assert generation.usage == whole.usage
    generation.cancel()  # it is over: nothing happens


async def test_nothing_comes_after_cancelling(llm: LLM) -> None:
    params = llm.sampling_params(max_tokens=100, ignore_eos=True)
    generation = await llm.admit(GenerationRequest(TEXT, params))
    kept = Kept(1)
    running = await generation.begin(kept)
    running.cancel()
    before = len(kept.deltas)
    await llm.generate(TEXT, max_tokens=8, ignore_eos=True)
    assert len(kept.deltas) == before
    assert not kept.over.is_set()
    async with asyncio.timeout(60):
        while llm.stats().running:  # noqa: ASYNC110  figures have no event
            await asyncio.sleep(0.01)


async def test_token_ids_are_a_prompt_too(llm: LLM) -> None:
    ids = await llm.encode(TEXT)
    by_text = await llm.generate(TEXT, max_tokens=6, temperature=0, ignore_eos=True)
    by_ids = await llm.generate(ids, max_tokens=6, temperature=0, ignore_eos=True)
    assert by_text.prompt_token_ids == ids
    assert by_ids.outputs == by_text.outputs


async def test_streamed_pieces_are_the_whole(llm: LLM) -> None:
    whole = await llm.generate(TEXT, max_tokens=20, temperature=0, ignore_eos=True)
    pieces = [
        item
        async for item in llm.generate_iterator(TEXT, max_tokens=20, temperature=0, ignore_eos=True)
    ]
    assert "".join(item.outputs[0].text for item in pieces) == whole.text
    assert [t for item in pieces for t in item.outputs[0].token_ids] == whole.outputs[0].token_ids
    assert [item.outputs[0].finish_reason for item in pieces if item.outputs[0].finish_reason] == [
        "length"
    ]
    assert pieces[-1].usage == whole.usage


async def test_each_choice_ends_once_and_usage_counts_the_prompt_once(llm: LLM) -> None:
    deltas = await deltas_of(llm, TEXT, n=3, max_tokens=6, temperature=1.5, ignore_eos=True)
    ends = [delta.index for delta in deltas if delta.finish_reason]
    assert sorted(ends) == [0, 1, 2]
    output = await llm.generate(TEXT, n=3, max_tokens=6, temperature=1.5, ignore_eos=True, seed=3)
    assert [choice.index for choice in output.outputs] == [0, 1, 2]
    assert output.usage.completion_tokens == 18
    assert output.usage.prompt_tokens == len(output.prompt_token_ids)


async def test_choices_differ_and_a_seed_repeats_them(llm: LLM) -> None:
    real(llm)
    ask = {"n": 3, "max_tokens": 12, "temperature": 1.5, "ignore_eos": True, "seed": 11}
    first, *_ = await asyncio.gather(
        llm.generate(TEXT, **ask),
        *(llm.generate("noise " * size, max_tokens=9) for size in range(1, 5)),
    )
    second = await llm.generate(TEXT, **ask)
    assert [c.token_ids for c in first.outputs] == [c.token_ids for c in second.outputs]
    assert len({tuple(c.token_ids) for c in first.outputs}) == 3
    other = await llm.generate(TEXT, **{**ask, "seed": 12})
    assert {tuple(c.token_ids) for c in other.outputs} != {
        tuple(c.token_ids) for c in first.outputs
    }


async def test_stop_string_cuts_the_text_wherever_tokens_end(llm: LLM) -> None:
    whole = await llm.generate(TEXT, max_tokens=40, temperature=0, ignore_eos=True)
    readable = [
        at for at in range(2, len(whole.text) - 3) if "\ufffd" not in whole.text[at : at + 3]
    ]
    if not readable:
        pytest.skip("the random model wrote no readable text")
    stop = whole.text[readable[0] : readable[0] + 3]
    cut = await llm.generate(
        TEXT, max_tokens=40, temperature=0, ignore_eos=True, stop=[stop, "never-said"]
    )
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.outputs[0].finish_reason == "stop"
    assert cut.outputs[0].stop_reason == stop
    assert cut.usage.completion_tokens <= whole.usage.completion_tokens
    kept = await llm.generate(
        TEXT, max_tokens=40, temperature=0, ignore_eos=True, stop=stop, include_stop=True
    )
    assert kept.text == cut.text + stop
    assert await idle(llm)


async def test_stop_token_ends_the_answer(llm: LLM) -> None:
    whole = await llm.generate(TEXT, max_tokens=10, temperature=0, ignore_eos=True)
    token = whole.outputs[0].token_ids[4]
    at = whole.outputs[0].token_ids.index(token)
    cut = await llm.generate(
        TEXT, max_tokens=10, temperature=0, ignore_eos=True, stop_token_ids=[token]
    )
    assert cut.outputs[0].token_ids == whole.outputs[0].token_ids[: at + 1]
    assert (cut.outputs[0].finish_reason, cut.outputs[0].stop_reason) == ("stop", token)
    late = await llm.generate(
        TEXT, max_tokens=10, temperature=0, ignore_eos=True, stop_token_ids=[token], min_tokens=8
    )
    assert len(late.outputs[0].token_ids) >= 8


async def test_end_of_sequence_and_min_tokens(llm: LLM) -> None:
    real(llm)
    eos = llm.info.eos_token_ids[0]
    now = {"logit_bias": {eos: 100.0}, "temperature": 0, "max_tokens": 9}
    ended = await llm.generate(TEXT, **now)
    assert ended.outputs[0].token_ids == [eos]
    assert (ended.outputs[0].finish_reason, ended.text) == ("stop", "")
    later = await llm.generate(TEXT, **now, min_tokens=4)
    assert len(later.outputs[0].token_ids) == 5
    assert eos not in later.outputs[0].token_ids[:4]
    never = await llm.generate(TEXT, **now, ignore_eos=True)
    assert len(never.outputs[0].token_ids) == 9
    assert never.outputs[0].finish_reason == "length"


async def test_logit_bias_forbids_and_forces(llm: LLM) -> None:
    real(llm)
    plain = await llm.generate(TEXT, temperature=0, max_tokens=1, ignore_eos=True)
    token = plain.outputs[0].token_ids[0]
    other = await llm.generate(
        TEXT, temperature=0, max_tokens=1, ignore_eos=True, logit_bias={token: -100}
    )
    assert other.outputs[0].token_ids[0] != token
    forced = await llm.generate(
        TEXT, temperature=1, max_tokens=4, ignore_eos=True, logit_bias={7: 100}
    )
    assert forced.outputs[0].token_ids == [7, 7, 7, 7]


async def test_nothing_comes_but_what_is_allowed(llm: LLM) -> None:
    asked = {"temperature": 1.5, "seed": 3, "max_tokens": 12, "ignore_eos": True, "n": 2}
    alone = await llm.generate(TEXT, **asked)
    try:
        limited, beside = await asyncio.gather(
            llm.generate(TEXT, **asked, allowed_token_ids=[9, 5, 7, 5], logit_bias={8: 50}),
            llm.generate(TEXT, **asked),
        )
    except UnsupportedFeature:
        assert repeats(llm)
        return
    tokens = {token for choice in limited.outputs for token in choice.token_ids}
    assert tokens <= {5, 7, 9}
    assert len(tokens) > 1
    assert [c.token_ids for c in beside.outputs] == [c.token_ids for c in alone.outputs]
    with pytest.raises(InvalidRequest, match="allowed_token_ids"):
        await llm.generate(TEXT, allowed_token_ids=[2**30])


async def test_bad_words_do_not_come(llm: LLM) -> None:
    asked: dict[str, Any] = {"temperature": 1.5, "seed": 1, "max_tokens": 60, "ignore_eos": True}
    words = {
        word: ids
        for word in ("the", "quick", "brown", "fox", "jumps", "lazy", "qz")
        if (ids := await llm.encode(word, add_special_tokens=False))
    }
    long = next(word for word, ids in words.items() if len(ids) == 2)
    first, second = words[long]
    allowed = [first, second]
    try:
        kept = await llm.generate(TEXT, **asked, allowed_token_ids=allowed, bad_words=[long])
    except UnsupportedFeature:
        assert repeats(llm)
        return
    free = await llm.generate(TEXT, **asked, allowed_token_ids=allowed)

    def runs(tokens: list[int]) -> int:
        return list(pairwise(tokens)).count((first, second))

    assert runs(free.outputs[0].token_ids) > 0
    assert runs(kept.outputs[0].token_ids) == 0
    assert {first, second} >= set(kept.outputs[0].token_ids)
    letter = await llm.encode("q", add_special_tokens=False)
    assert len(letter) == 1
    forced = {"temperature": 0, "max_tokens": 3, "ignore_eos": True, "logit_bias": {letter[0]: 100}}
    assert (await llm.generate(TEXT, **forced)).outputs[0].token_ids == letter * 3
    banned = await llm.generate(TEXT, **forced, bad_words="q")
    assert letter[0] not in banned.outputs[0].token_ids


async def test_a_salt_keeps_cached_prompts_apart(llm: LLM) -> None:
    prompt = "salted " * 24

    async def cached(salt: str | None) -> int:
        params = llm.sampling_params(max_tokens=1)
        options = RequestOptions(cache_salt=salt)
        request = GenerationRequest(prompt, params, options=options)
        return (await collect(await llm.admit(request))).usage.cached_tokens

    assert await cached(None) == 0
    shared = await cached(None)
    assert await cached("mine") == 0
    assert await cached("mine") == shared
    assert await cached("yours") == 0


async def test_who_is_urgent_goes_first(llm: LLM) -> None:
    if not llm.info.priorities:
        pytest.skip("this engine serves in the order of arrival")
    ended: list[int] = []

    async def ask(priority: int, tokens: int) -> None:
        params = llm.sampling_params(max_tokens=tokens, ignore_eos=True)
        options = RequestOptions(priority=priority)
        await collect(await llm.admit(GenerationRequest(TEXT, params, options=options)))
        ended.append(priority)

    busy = [asyncio.create_task(ask(0, 60)) for _ in range(8)]  # as many as run at once
    async with asyncio.timeout(60):
        while llm.stats().running < 8:  # noqa: ASYNC110  figures have no event
            await asyncio.sleep(0.005)
    waiting = [asyncio.create_task(ask(priority, 30)) for priority in (9, 9, 9, 9, 9, 9, 9, 9, -1)]
    await asyncio.gather(*busy, *waiting)
    assert ended.index(-1) < ended.index(9)


async def test_logprobs_have_one_entry_per_token(llm: LLM) -> None:
    output = await llm.generate(TEXT, temperature=0, max_tokens=6, ignore_eos=True, logprobs=3)
    choice = output.outputs[0]
    assert choice.logprobs is not None
    assert [entry.token_id for entry in choice.logprobs] == choice.token_ids
    for entry in choice.logprobs:
        assert entry.logprob <= 0
        if not repeats(llm):
            assert len(entry.top) == 3
            assert entry.top[0] == (entry.token_id, pytest.approx(entry.logprob, abs=1e-5))
            assert [p for _, p in entry.top] == sorted((p for _, p in entry.top), reverse=True)
            assert entry.rank == 1


async def test_logprobs_equal_the_reference(llm: LLM, reference: Reference) -> None:
    real(llm)
    output = await llm.generate(
        TEXT, temperature=0.7, seed=5, max_tokens=5, ignore_eos=True, logprobs=0
    )
    choice = output.outputs[0]
    assert choice.logprobs is not None
    expected = reference.logprobs(output.prompt_token_ids, choice.token_ids)
    assert [entry.logprob for entry in choice.logprobs] == pytest.approx(expected, abs=2e-3)


async def test_prompt_logprobs(llm: LLM, reference: Reference) -> None:
    try:
        output = await llm.generate(TEXT, max_tokens=1, temperature=0, prompt_logprobs=1)
    except UnsupportedFeature:
        return
    assert output.prompt_logprobs is not None
    assert len(output.prompt_logprobs) == len(output.prompt_token_ids)
    assert output.prompt_logprobs[0] is None
    if not repeats(llm):
        got = [entry.logprob for entry in output.prompt_logprobs if entry]
        ids = output.prompt_token_ids
        assert got == pytest.approx(reference.logprobs(ids[:1], ids[1:]), abs=2e-3)


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "size": {"enum": [1, 2, 3]}},
    "required": ["name", "size"],
    "additionalProperties": False,
}
STRUCTURES = [
    (
        Structure(StructureKind.CHOICE, json.dumps(["red", "green"])),
        lambda text: text in {"red", "green"},
    ),
    (
        Structure(StructureKind.REGEX, "[0-9]{3}-[a-c]{2}"),
        lambda text: re.fullmatch("[0-9]{3}-[a-c]{2}", text),
    ),
    (
        Structure(StructureKind.JSON_SCHEMA, json.dumps(SCHEMA)),
        lambda text: set(json.loads(text)) == {"name", "size"},
    ),
    (Structure(StructureKind.GRAMMAR, 'root ::= "yes" | "no"'), lambda text: text in {"yes", "no"}),
]


@pytest.mark.parametrize(
    ("structure", "holds"), STRUCTURES, ids=[s.kind.value for s, _ in STRUCTURES]
)
async def test_structured_output_holds(llm: LLM, structure: Structure, holds: Any) -> None:
    try:
        output = await llm.generate(
            TEXT, structure=structure, max_tokens=120, temperature=1.0, seed=2, n=2
        )
    except UnsupportedFeature:
        return
    for choice in output.outputs:
        assert choice.finish_reason == "stop", choice.text
        assert holds(choice.text), choice.text


async def test_a_bounded_string_holds_no_control_character(llm: LLM, weights: Path) -> None:
    structure = Structure(StructureKind.JSON_SCHEMA, json.dumps(SCHEMA))
    wanted = Tokenizer.from_file(str(weights / "tokenizer.json")).encode("\x17").ids[-1]
    try:
        output = await llm.generate(
            TEXT, structure=structure, max_tokens=60, temperature=0, logit_bias={wanted: 50.0}
        )
    except UnsupportedFeature:
        return
    assert "\x17" not in output.text
    json.loads(output.text)


async def test_a_bad_structure_harms_nobody_else(llm: LLM) -> None:
    bad = Structure(StructureKind.REGEX, "([a-z")
    results = await asyncio.gather(
        llm.generate(TEXT, structure=bad, max_tokens=5),
        llm.generate(TEXT, temperature=0, max_tokens=5, ignore_eos=True),
        return_exceptions=True,
    )
    assert isinstance(results[0], InvalidRequest), results[0]
    assert not isinstance(results[1], BaseException)


@pytest.mark.parametrize(
    "params", [{"presence_penalty": 2.0}, {"frequency_penalty": 2.0}, {"repetition_penalty": 5.0}]
)
async def test_penalties_discourage_repetition(llm: LLM, params: dict[str, float]) -> None:
    real(llm)
    force = {"logit_bias": {7: 3.0}, "temperature": 0, "max_tokens": 30, "ignore_eos": True}
    plain = await llm.generate(TEXT, **force)
    less = await llm.generate(TEXT, **force, **params)
    assert len(set(less.outputs[0].token_ids)) >= len(set(plain.outputs[0].token_ids))
    assert (
        less.outputs[0].token_ids != plain.outputs[0].token_ids
        or len(set(plain.outputs[0].token_ids)) == 30
    )


@pytest.mark.parametrize("params", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
async def test_a_filter_that_leaves_one_token_is_greedy(
    llm: LLM, reference: Reference, params: dict[str, Any]
) -> None:
    real(llm)
    output = await llm.generate(TEXT, temperature=1.0, max_tokens=10, ignore_eos=True, **params)
    reference.assert_greedy(output.prompt_token_ids, output.outputs[0].token_ids)


async def test_closing_the_iterator_frees_the_slot(llm: LLM) -> None:
    readers = []
    for _ in range(4):
        params = llm.sampling_params(max_tokens=200, ignore_eos=True)
        reader = pulled(await llm.admit(GenerationRequest(TEXT, params)))
        assert (await anext(reader)).token_ids
        readers.append(reader)
    for reader in readers:
        await reader.aclose()
    assert await idle(llm)


async def test_cancelling_the_reading_task_frees_the_slot(llm: LLM) -> None:
    task = asyncio.create_task(llm.generate(TEXT, max_tokens=200, ignore_eos=True, n=2))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await idle(llm)


async def test_requests_join_and_leave(llm: LLM) -> None:
    async def ask(at: int) -> int:
        await asyncio.sleep(0.01 * (at % 5))
        if at % 4 == 3:
            task = asyncio.create_task(llm.generate(TEXT, max_tokens=100, ignore_eos=True))
            await asyncio.sleep(0.03)
            task.cancel()
            return len(await asyncio.gather(task, return_exceptions=True))
        output = await llm.generate(f"{at} {TEXT}", max_tokens=5 + at, ignore_eos=True)
        assert output.usage.completion_tokens == 5 + at
        return 1

    assert sum(await asyncio.gather(*(ask(at) for at in range(24)))) == 24
    assert await idle(llm)


async def test_too_long_a_prompt_is_refused(llm: LLM) -> None:
    with pytest.raises(ContextLengthExceeded, match=str(CONTEXT)):
        await llm.generate([5] * (CONTEXT + 1), max_tokens=1)
    with pytest.raises(ContextLengthExceeded):
        await llm.generate([5] * 10, max_tokens=CONTEXT)
    full = await llm.generate([5] * (CONTEXT - 2), ignore_eos=True)
    assert len(full.outputs[0].token_ids) == 2


@pytest.mark.parametrize(
    ("prompt", "params"),
    [
        ([], {}),
        ("", {}),
        ([-1], {}),
        ([10**7], {}),
        (TEXT, {"temperature": float("nan")}),
        (TEXT, {"top_p": 0}),
        (TEXT, {"logit_bias": {10**7: 1}}),
        (TEXT, {"stop": [""]}),
        (TEXT, {"max_tokens": True}),
        (TEXT, {"unheard_of": 1}),
    ],
)
async def test_bad_input_is_refused_and_the_engine_goes_on(
    llm: LLM, prompt: Any, params: dict[str, Any]
) -> None:
    if prompt == "" and await llm.encode(""):
        pytest.skip("this tokenizer begins every text with a token")
    with pytest.raises(InvalidRequest):
        await llm.generate(prompt, **{"max_tokens": 2, **params})
    output = await llm.generate(TEXT, max_tokens=2, ignore_eos=True)
    assert output.usage.completion_tokens == 2


async def test_an_unknown_adapter_is_refused(llm: LLM) -> None:
    with pytest.raises(AdapterNotFound, match="nobody"):
        await llm.generate(TEXT, adapter_name="nobody", max_tokens=2)


async def test_a_full_queue_is_a_typed_error_and_accepted_requests_finish(llm: LLM) -> None:
    params = llm.sampling_params(
        max_tokens=3, ignore_eos=True
    )  # admitted first, so that they all come at once
    admitted = [await llm.admit(GenerationRequest(TEXT, params)) for _ in range(200)]
    results = await asyncio.gather(*map(collect, admitted), return_exceptions=True)
    refused = [r for r in results if isinstance(r, Overloaded)]
    assert refused
    assert refused[0].retry_after >= 1
    done = [r for r in results if not isinstance(r, BaseException)]
    assert len(done) + len(refused) == 200
    assert len(done) >= 64
    assert await idle(llm)


async def test_stats_show_what_runs(llm: LLM) -> None:
    generation = await llm.admit(
        GenerationRequest(TEXT, SamplingParams(max_tokens=200, ignore_eos=True))
    )
    async with aclosing(pulled(generation)) as reader:
        await anext(reader)
        for _ in range(100):
            if llm.stats().running:
                break
            await asyncio.sleep(0.01)
        assert llm.stats().running == 1
        assert 0 <= llm.stats().cache_usage <= 1
    assert await idle(llm)


async def test_closing_ends_what_is_live_and_it_starts_again(llm: LLM) -> None:
    """Last: it restarts the engine."""
    if llm.backend.name == "vllm":
        pytest.skip(
            "vLLM on the CPU takes half a minute to start again; tests/backends/vllm has the"
            " closing test"
        )
    task = asyncio.create_task(llm.generate(TEXT, max_tokens=200, ignore_eos=True))
    for _ in range(10_000):  # until it runs: a small model is done in a few milliseconds
        await asyncio.sleep(0)
        if llm.stats().running:
            break
    await llm.aclose()
    with pytest.raises(EngineDead):
        await task
    output = await llm.generate(TEXT, max_tokens=2, ignore_eos=True)
    assert output.usage.completion_tokens == 2
