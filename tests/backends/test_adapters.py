"""LoRA on every engine that has it: any mix in one batch, loads and unloads under traffic, few
resident at once.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from openllm.backends.base import Backend
from openllm.backends.select import find_backend
from openllm.config.settings import Settings
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import AdapterNotFound, Conflict, WeightsError
from openllm.facts import all_facts
from openllm.llm.host import choose_engine
from openllm.llm.llm import LLM
from openllm.types import GenerationOutput
from tests.adapters import respelled
from tests.backends.engines import engine_params, repeats
from tests.backends.reference import Reference, has_torch
from tests.tiny import write_adapter, write_llama

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("red", "green", "blue", "grey")
RESIDENT = 3
RANK = 8
TEXT = "the quick brown fox jumps over the lazy dog"
ENGINES = engine_params(facts.name for facts in all_facts() if facts.adapters)


@attrs.frozen
class World:
    """One base model, its adapters, and transformers' view of each: the adapter merged into the
    base.
    """

    folder: Path
    references: dict[str | None, Reference]

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def adapter(self, name: str) -> Path:
        return self.folder / name

    def check(self, name: str | None, output: GenerationOutput) -> None:
        self.references[name].assert_greedy(output.prompt_token_ids, output.outputs[0].token_ids)

    def is_of(self, name: str | None, output: GenerationOutput) -> bool:
        try:
            self.check(name, output)
        except AssertionError:
            return False
        return True


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    if not has_torch():
        pytest.skip("writing adapters needs torch: pip install torch")
    folder = tmp_path_factory.mktemp("adapters")
    base = write_llama(folder / "base")
    for at, name in enumerate((*NAMES, "other")):
        write_adapter(folder / name, base, seed=at + 1, rank=(4, 8, 2)[at % 3])
    patterns: dict[str, Any] = {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 16}}
    write_adapter(folder / "patterns", base, seed=9, **patterns)
    names = (*NAMES, "other", "patterns")
    return World(
        folder, {None: Reference(base), **{name: _merged(folder, base, name) for name in names}}
    )


def _merged(folder: Path, base: Path, name: str) -> Reference:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), str(folder / name)
    )
    path = folder / f"{name}-merged"
    model.merge_and_unload().save_pretrained(path)
    return Reference(path)


def spec_of(world: World, backend: str, **options: Any) -> LLMSpec:
    fields: dict[str, Any] = {
        "dtype": "float32",
        "max_model_len": 128,
        "max_num_seqs": 16,
        "max_queue": 2000,
    }
    fields |= {"max_adapters": RESIDENT, "max_lora_rank": RANK}
    return LLMSpec(model_id=str(world.base), backend=backend, **{**fields, **options})


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def llm(request: pytest.FixtureRequest, world: World) -> AsyncIterator[LLM]:
    adapters = [AdapterSpec(name, str(world.adapter(name))) for name in NAMES]
    spec = spec_of(world, request.param, adapters=adapters)
    if why := find_backend(request.param).unusable(spec, Settings()):
        pytest.skip(why)
    async with LLM.from_spec(spec) as llm:
        yield llm


def real(llm: LLM) -> None:
    if repeats(llm):
        pytest.skip("this engine has no model")


async def ask(llm: LLM, name: str | None, text: str = TEXT, tokens: int = 16) -> GenerationOutput:
    return await llm.generate(
        text, adapter_name=name, temperature=0, max_tokens=tokens, ignore_eos=True
    )


async def test_a_mixed_batch_gives_the_tokens_of_single_runs(llm: LLM, world: World) -> None:
    real(llm)
    names = [None, *NAMES[:RESIDENT]]
    alone = [await ask(llm, name) for name in names]
    mixed = await asyncio.gather(*(ask(llm, name) for name in [*names, *reversed(names)]))
    for name, output in zip([*names, *names, *reversed(names)], [*alone, *mixed], strict=True):
        world.check(name, output)
    assert len({tuple(output.outputs[0].token_ids) for output in alone}) == len(names)


async def test_rows_of_all_kinds_join_and_leave(llm: LLM, world: World) -> None:
    real(llm)

    async def come(at: int) -> tuple[str | None, GenerationOutput]:
        name = (None, *NAMES)[at % 5]
        await asyncio.sleep(0.004 * (at * 7 % 13))
        if at % 6 == 5:
            task = asyncio.create_task(ask(llm, name, tokens=60))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait((task,))
        return name, await ask(llm, name, f"{at} {TEXT} {'again ' * (at % 4)}", tokens=3 + at % 11)

    for name, output in await asyncio.gather(*(come(at) for at in range(40))):
        world.check(name, output)


async def test_more_adapters_than_places_all_answer(llm: LLM, world: World) -> None:
    assert llm.adapters == NAMES
    for name in (*NAMES, *reversed(NAMES)):
        output = await ask(llm, name, tokens=6)
        assert len(output.outputs[0].token_ids) == 6
        if not repeats(llm):
            world.check(name, output)
        resident = llm.residency.resident  # type: ignore[attr-defined]  # the engine is in this process
        assert name in resident
        assert len(resident) == RESIDENT


async def test_many_short_requests_while_adapters_come_and_go(llm: LLM, world: World) -> None:
    """`grey` and `red` are removed and added again with other files; each answer is that of one
    whole adapter.
    """
    chance = random.Random(5)
    count = 200 if llm.backend.name == "vllm" else 1000
    versions = {
        "grey": ("grey", "other"),
        "red": ("red", "other"),
        "green": ("green",),
        "blue": ("blue",),
    }
    answered: list[tuple[str, GenerationOutput]] = []
    turns = {"grey": 0, "red": 0}

    def busy() -> bool:
        return len(answered) < count or min(turns.values()) < 2

    async def send(number: int) -> None:
        while busy():
            name = chance.choice(NAMES)
            try:
                text = TEXT[: 5 + len(answered) % 30]
                answered.append(
                    (name, await ask(llm, name, text, tokens=1 + (number + len(answered)) % 4))
                )
            except AdapterNotFound:
                assert name in turns
                await asyncio.sleep(0.005)

    async def swap(name: str) -> None:
        while busy():
            turns[name] += 1
            await llm.unmount_adapter(name)
            await llm.mount_adapter(name, world.adapter(versions[name][turns[name] % 2]))
            await asyncio.sleep(0.05)
        await llm.unmount_adapter(name)
        await llm.mount_adapter(name, world.adapter(name))

    await asyncio.gather(*(send(number) for number in range(16)), swap("grey"), swap("red"))
    assert len(answered) >= count
    assert llm.stats().running == llm.stats().waiting == 0
    if not repeats(llm):
        for name, output in answered:
            assert any(world.is_of(version, output) for version in versions[name]), (name, output)
        assert any(
            not world.is_of(name, output) for name, output in answered
        )  # some were the other version's
        for name in NAMES:
            world.check(name, await ask(llm, name))


async def test_removing_waits_for_what_runs(llm: LLM, world: World) -> None:
    running = llm.generate_iterator(
        TEXT, adapter_name="green", temperature=0, max_tokens=60, ignore_eos=True
    )
    ids = (await anext(running)).outputs[0].token_ids
    with pytest.raises(Conflict, match="in use"):
        await llm.unmount_adapter("green", wait=False)
    removal = asyncio.create_task(llm.unmount_adapter("green"))
    await asyncio.sleep(0)
    with pytest.raises(AdapterNotFound, match="green"):
        await ask(llm, "green")
    assert not removal.done()
    async for item in running:
        ids = [*ids, *item.outputs[0].token_ids]
    await removal
    assert len(ids) == 60
    if not repeats(llm):
        world.references["green"].assert_greedy(await llm.encode(TEXT), ids)
    await llm.mount_adapter("green", world.adapter("green"))
    with pytest.raises(Conflict, match="already"):
        await llm.mount_adapter("green", world.adapter("other"))


async def test_what_does_not_fit_is_refused_before_it_is_mounted(
    llm: LLM, world: World, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "wide", world.base, rank=2 * RANK)
    other = write_llama(tmp_path / "other-base", hidden_size=96)
    write_adapter(tmp_path / "foreign", other)
    write_adapter(tmp_path / "prefix", world.base)
    config = tmp_path / "prefix" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "PREFIX_TUNING"}))
    reasons = {
        "wide": "rank 16, above the limit of 8",
        "foreign": "base model",
        "prefix": "only LORA",
    }
    for name, reason in reasons.items():
        with pytest.raises(WeightsError, match=reason):
            await llm.mount_adapter(name, tmp_path / name)
    with pytest.raises(WeightsError):
        await llm.mount_adapter("nowhere", tmp_path / "nowhere")
    assert set(llm.adapters) == set(NAMES)
    assert (await ask(llm, "red", tokens=2)).usage.completion_tokens == 2


async def test_ranks_by_layer_are_right(llm: LLM, world: World) -> None:
    real(llm)
    await llm.mount_adapter("patterns", world.adapter("patterns"))
    world.check("patterns", await ask(llm, "patterns"))
    await llm.unmount_adapter("patterns")


async def test_other_spellings_of_its_layers_are_mapped(
    llm: LLM, world: World, tmp_path: Path
) -> None:
    """As torch.compile, a named adapter of peft and a model that sees pictures write them."""
    real(llm)
    path = respelled(world.adapter("red"), tmp_path / "respelled")
    await llm.mount_adapter("respelled", path)
    world.check("red", await ask(llm, "respelled"))
    await llm.unmount_adapter("respelled")


@pytest.mark.parametrize("backend", ["echo", "pytorch"])
async def test_an_adapter_that_does_not_fit_stops_the_start_before_the_engine(
    world: World, tmp_path: Path, backend: str
) -> None:
    write_adapter(tmp_path / "wide", world.base, rank=2 * RANK)
    made: list[LLMSpec] = []

    def make(spec: LLMSpec, place: Path) -> tuple[Backend, str]:
        made.append(spec)
        return choose_engine(spec, place)

    for source, reason in ((tmp_path / "wide", "rank 16"), (tmp_path / "missing", "missing")):
        spec = spec_of(world, backend, adapters=[AdapterSpec("arr", str(source))])
        llm = LLM.from_spec(spec, make_engine=make)
        with pytest.raises(WeightsError, match=reason):
            await llm.start()
        assert not llm.started
        assert made == []
    named = LLM.from_spec(
        spec_of(world, backend, adapters=[AdapterSpec("base", str(world.adapter("red")))])
    )
    with pytest.raises(Exception, match="cannot have the model's name 'base'"):
        await named.start()


async def test_a_script_mounts_and_asks_without_a_loop(world: World) -> None:
    def script() -> list[str]:
        with LLM.from_spec(spec_of(world, "pytorch")) as llm:
            llm.run(llm.mount_adapter("red", world.adapter("red")))
            params: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "ignore_eos": True}
            return [str(llm(TEXT, **params)), str(llm(TEXT, adapter_name="red", **params))]

    plain, red = await asyncio.to_thread(script)
    assert plain != red
