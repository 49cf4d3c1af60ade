"""What a model carries from token to token belongs to one sequence: whoever shares its beginning,
fails beside it, moves or gives way, the answers are those of single runs.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from openllm.backends.pytorch.backend import PyTorchBackend
from openllm.backends.pytorch.forward.states import StateModule
from tests import tiny
from tests.backends.pytorch.architectures import write_checkpoint
from tests.backends.pytorch.conftest import Answer, ask, ask_all, prompt_of, request, started
from tests.backends.pytorch.lora.test_adapters import PeftReference
from tests.backends.reference import Reference

ROOM = 2_400_000  # bytes of cache: for three rows of 256 tokens or one of 1024, not for both
NAMES = ("mamba", "lfm2", "falcon_h1")  # from nothing only; convolutions; both in one layer
LATE = ("mamba", "qwen3_next", "lfm2")
PROMPTS = (prompt_of(5, 1), prompt_of(1, 2))  # the first is cut in 4 and 1 where it may be
SEED = 7
# Bytes of cache for four rows of 256 tokens; beside one of 1024 there is room for one, or for two.
FIRST_GIVES_WAY, FIRST_STAYS = 850_000, 1_100_000


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest, model: Callable[[str], Path]) -> Path:
    return model(request.param)


async def test_a_prompt_is_computed_once_for_all_choices(path: Path) -> None:
    prompt = prompt_of(40)
    async with started(path, engine_args={"prefill_tokens": 16}) as backend:
        choices = await ask_all(backend, request(prompt, n=3, max_tokens=8))
        again = await ask(backend, prompt, max_tokens=8)
    for answer in (*choices, again):
        Reference(path).assert_greedy(prompt, answer.tokens)
    assert again.cached == len(prompt) - 1


async def test_a_conversation_goes_on_from_its_state(model: Callable[[str], Path]) -> None:
    path = model("falcon_h1")
    prompt = prompt_of(40)
    async with started(path) as backend:
        first = await ask(backend, prompt)
        longer = prompt + first.tokens + prompt_of(5, 3)
        second = await ask(backend, longer)
        elsewhere = await ask(backend, prompt[:20] + prompt_of(9, 4))
    Reference(path).assert_greedy(longer, second.tokens)
    assert second.cached == len(prompt) + len(first.tokens) - 1
    assert elsewhere.cached == 0  # nobody has the state there


async def test_a_row_that_fails_leaves_the_others_their_states(
    model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model("falcon_h1")
    single, calls = StateModule._singles, iter(range(10_000))

    def sometimes(self: StateModule, slab: Any, step: Any, rows: torch.Tensor, part: Any) -> Any:
        found = single(self, slab, step, rows, part)
        if rows.shape[0] > 1 and next(calls) % 7 == 6:  # after states have been written
            raise RuntimeError("this step fails")
        return found

    prompts = [prompt_of(9 + 8 * at, at) for at in range(4)]
    async with started(path) as backend:
        monkeypatch.setattr(StateModule, "_singles", sometimes)
        found = await asyncio.gather(*(ask(backend, prompt) for prompt in prompts))
    assert next(calls) > 7
    for prompt, answer in zip(prompts, found, strict=True):
        Reference(path).assert_greedy(prompt, answer.tokens)


async def test_rows_move_and_give_way_with_their_states(tmp_path: Path) -> None:
    path = write_checkpoint("falcon_h1", tmp_path)
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    prompts = [prompt_of(170 + 9 * at, at) for at in range(3)]
    async with started(path, kv_cache_memory=ROOM) as backend:
        found = await asyncio.gather(*(ask(backend, prompt, max_tokens=90) for prompt in prompts))
        assert backend.stats().preemptions > 0
    for prompt, answer in zip(prompts, found, strict=True):
        Reference(path).assert_greedy(prompt, answer.tokens)


@pytest.mark.parametrize(
    ("name", "targets"), [("falcon_h1", ["in_proj", "q_proj"]), ("youtu", ["kv_b_proj", "o_proj"])]
)
async def test_adapters_reach_what_is_computed_in_parts(
    name: str, targets: list[str], model: Callable[[str], Path], tmp_path: Path
) -> None:
    path = model(name)
    adapters = {
        key: tiny.write_adapter(tmp_path / key, path, seed=at, target_modules=targets)
        for at, key in enumerate("ab")
    }
    prompts = [prompt_of(9 + 11 * at, at) for at in range(4)]
    keys = [None, "a", "b", "a"]
    async with started(path, engine_args={"prefill_tokens": 16}) as backend:
        for key, folder in adapters.items():
            await backend.mount_adapter(key, folder)
        found = await asyncio.gather(
            *(ask(backend, prompt, key) for prompt, key in zip(prompts, keys, strict=True))
        )
    for prompt, key, answer in zip(prompts, keys, found, strict=True):
        reference = PeftReference(path, adapters[key] if key else None)
        reference.assert_greedy(prompt, answer.tokens)


async def assert_single_runs(
    backend: PyTorchBackend, prompt: list[int], found: list[Answer], **params: Any
) -> None:
    """Choice i is what a request of its own answers with the seed `SEED + i`."""
    for at, answer in enumerate(found):
        alone = await ask(backend, prompt, seed=SEED + at, **params)
        assert (answer.error, answer.tokens) == (None, alone.tokens)


@pytest.mark.parametrize("name", LATE)
async def test_a_choice_that_begins_late_is_a_single_run(
    name: str, model: Callable[[str], Path]
) -> None:
    async with started(model(name), max_num_seqs=2, engine_args={"prefill_tokens": 4}) as backend:
        for prompt, temperature in itertools.product(PROMPTS, (0.0, 1.0)):
            params: dict[str, Any] = {"temperature": temperature, "max_tokens": 14}
            # It has one of the two places until the first choice has decoded a few tokens.
            beside, found = await asyncio.gather(
                ask(backend, prompt_of(4), max_tokens=8),
                ask_all(backend, request(prompt, n=3, seed=SEED, **params)),
            )
            assert beside.error is None
            await assert_single_runs(backend, prompt, found, **params)


@pytest.mark.parametrize(
    ("name", "room", "given_way"), [("qwen3_next", FIRST_GIVES_WAY, 3), ("jamba", FIRST_STAYS, 2)]
)
async def test_a_choice_that_resumes_is_a_single_run(
    name: str, room: int, given_way: int, tmp_path: Path
) -> None:
    path = write_checkpoint(name, tmp_path)
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    prompt = prompt_of(10, 1)
    params: dict[str, Any] = {"temperature": 1.0, "max_tokens": 90}
    async with started(path, kv_cache_memory=room, enable_prefix_caching=False) as backend:
        # It moves to a row of 1024 when all four have some 60 tokens.
        beside, found = await asyncio.gather(
            ask(backend, prompt_of(188), max_tokens=76),
            ask_all(backend, request(prompt, n=3, seed=SEED, **params)),
        )
        assert backend.stats().preemptions == given_way
        assert beside.error is None
        await assert_single_runs(backend, prompt, found, **params)
