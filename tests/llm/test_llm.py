"""The one high-level door: lazy, async, the same from scripts, coroutines and several event
loops.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openllm
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, ContextLengthExceeded, EngineDead, InvalidRequest
from openllm.llm.llm import LLM
from openllm.prompt.messages import conversation
from tests.tiny import write_llama

TEXT = "hello world, how do I build and serve a model"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm") / "tiny-model")


def echo(weights: Path, **options: Any) -> LLM:
    return LLM(str(weights), backend="echo", **options)


def test_nothing_loads_before_it_is_needed(tmp_path: Path) -> None:
    llm = openllm.LLM(str(tmp_path / "missing"), backend="echo")
    assert llm.spec.backend == "echo"
    assert not llm.started
    with pytest.raises(openllm.OpenLLMError, match="missing"):
        _ = llm.weights_dir


def test_importing_openllm_imports_no_framework() -> None:
    code = (
        "import sys, openllm; openllm.SamplingParams; "
        "print(sorted({'torch', 'transformers', 'bentoml', 'vllm', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_script_calls_it_like_a_function(weights: Path) -> None:
    with echo(weights) as llm:
        answer = llm(TEXT, max_tokens=4)
        assert answer.usage.completion_tokens == 4
        assert str(answer) == answer.outputs[0].text
        assert llm(TEXT, max_tokens=4).outputs == answer.outputs


@pytest.mark.parametrize("backend", ["echo", "pytorch"])
def test_a_script_that_forgets_to_close_ends_cleanly(weights: Path, backend: str) -> None:
    code = (
        f"import openllm; print(openllm.LLM({str(weights)!r}, backend={backend!r})('hi',"
        " max_tokens=2).usage)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "completion_tokens=2" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_text_called_like_a_function_is_one_turn_of_a_chat(weights: Path) -> None:
    with echo(weights) as llm:
        rendered = llm.renderer.encode(conversation([{"role": "user", "content": TEXT}]))
        assert llm(TEXT).prompt_token_ids == rendered
        assert llm(rendered).prompt_token_ids == rendered


async def test_calling_it_inside_the_engines_loop_says_what_to_do(weights: Path) -> None:
    async with echo(weights) as llm:
        with pytest.raises(InvalidRequest, match="await"):
            llm(TEXT)


def test_it_serves_one_event_loop_after_another(weights: Path) -> None:
    llm = echo(weights)
    first = asyncio.run(llm.generate(TEXT, max_tokens=3))
    second = asyncio.run(llm.generate(TEXT, max_tokens=3))
    assert first.outputs == second.outputs
    third = llm(first.prompt_token_ids, max_tokens=3)
    assert third.outputs == first.outputs
    llm.close()


def test_it_serves_two_event_loops_at_once(weights: Path) -> None:
    llm = echo(weights)
    llm(TEXT, max_tokens=1)  # now the engine lives on its own thread's loop

    async def from_here() -> list[str]:
        return [item.outputs[0].text async for item in llm.generate_iterator(TEXT, max_tokens=5)]

    assert "".join(asyncio.run(from_here())) == asyncio.run(llm.generate(TEXT, max_tokens=5)).text
    with pytest.raises(ContextLengthExceeded):
        asyncio.run(llm.generate(TEXT, max_tokens=10**6))
    llm.close()


async def test_leaving_the_iterator_early_cancels(weights: Path) -> None:
    async with echo(weights, engine_args={"delay": 0.001}) as llm:
        stream = llm.generate_iterator(TEXT, max_tokens=300, ignore_eos=True)
        async for _ in stream:
            break
        await stream.aclose()
        assert llm.stats().running == 0


@pytest.mark.parametrize("n", [1, 2])
async def test_an_iterator_says_nothing_twice(weights: Path, n: int) -> None:
    async with echo(weights) as llm:
        whole = await llm.generate(TEXT, max_tokens=6, n=n, prompt_logprobs=0)
        items = [
            item async for item in llm.generate_iterator(TEXT, max_tokens=6, n=n, prompt_logprobs=0)
        ]
    assert len(items) > n
    assert [len(item.outputs) for item in items] == [1] * len(items)
    assert [token for item in items for token in item.prompt_token_ids] == whole.prompt_token_ids
    assert [item.prompt_logprobs for item in items if item.prompt_logprobs] == [
        whole.prompt_logprobs
    ]
    for choice in whole.outputs:
        own = [item.outputs[0] for item in items if item.outputs[0].index == choice.index]
        assert "".join(output.text for output in own) == choice.text
        assert [token for output in own for token in output.token_ids] == choice.token_ids
        assert [output.finish_reason for output in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == choice.finish_reason
    counts = [item.usage.completion_tokens for item in items]
    assert counts == sorted(counts)
    assert items[-1].usage == whole.usage
    assert items[0].text == items[0].outputs[0].text


async def test_many_starts_at_once_start_one_engine(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm, starts = echo(weights), []
    start = type(llm.backend).start

    async def counted(self: Any) -> None:
        starts.append(self)
        await asyncio.sleep(0.01)
        await start(self)

    monkeypatch.setattr(type(llm.backend), "start", counted)
    await asyncio.gather(*(llm.generate(TEXT, max_tokens=1) for _ in range(5)))
    assert len(starts) == 1
    await llm.aclose()


async def test_a_failed_start_can_be_tried_again(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = echo(weights)
    start = type(llm.backend).start

    async def fail(self: Any) -> None:
        raise EngineDead("no luck")

    monkeypatch.setattr(type(llm.backend), "start", fail)
    with pytest.raises(EngineDead, match="no luck"):
        await llm.start()
    assert not llm.started
    monkeypatch.setattr(type(llm.backend), "start", start)
    assert (await llm.generate(TEXT, max_tokens=1)).usage.completion_tokens == 1
    await llm.aclose()


async def test_chat_takes_dicts_and_messages(weights: Path) -> None:
    async with echo(weights) as llm:
        by_dict = await llm.chat([{"role": "user", "content": "hi"}], max_tokens=3)
        by_message = await llm.chat([openllm.Message("user", "hi")], max_tokens=3)
        assert by_dict.outputs == by_message.outputs
        with pytest.raises(InvalidRequest, match="no messages"):
            await llm.chat([])
        with pytest.raises(InvalidRequest, match="role"):
            await llm.chat([{"content": "hi"}])


async def test_defaults_given_to_the_llm_hold_for_its_requests(weights: Path) -> None:
    async with echo(weights, max_new_tokens=3, temperature=0.1) as llm:
        assert (await llm.generate(TEXT)).usage.completion_tokens == 3
        assert (await llm.generate(TEXT, max_tokens=5)).usage.completion_tokens == 5
        assert llm.sampling_params().temperature == 0.1


async def test_a_default_length_gives_way_to_a_long_prompt(weights: Path) -> None:
    async with echo(weights, max_new_tokens=60, max_model_len=64) as llm:
        output = await llm.generate([9] * 60, ignore_eos=True)
        assert output.usage.completion_tokens == 4
        with pytest.raises(ContextLengthExceeded):
            await llm.generate([9] * 60, max_tokens=5)


async def test_embeddings_are_unit_vectors_and_can_be_cut(weights: Path) -> None:
    async with echo(weights) as llm:
        both = await llm.embed(["one text", "another"])
        assert len(both.vectors) == 2
        assert sum(value**2 for value in both.vectors[0]) == pytest.approx(1)
        assert both.usage.prompt_tokens > 2
        assert len((await llm.embed("one text", dimensions=4)).vectors[0]) == 4
        with pytest.raises(InvalidRequest, match="dimensions"):
            await llm.embed("x", dimensions=10_000)
        with pytest.raises(InvalidRequest, match="empty"):
            await llm.embed([[]])


@pytest.mark.parametrize(
    "prompt", [3, None, b"bytes", {"role": "user"}, ["a text"], [{"role": "user", "content": "hi"}]]
)
def test_what_is_no_prompt(weights: Path, prompt: Any) -> None:
    with echo(weights) as llm:
        with pytest.raises(InvalidRequest):
            llm.run(llm.generate(prompt))
        if not isinstance(prompt, list):
            with pytest.raises(InvalidRequest, match="Pass a text"):
                llm.run(llm.embed(prompt))
            with pytest.raises(InvalidRequest, match="list of messages"):
                llm.run(llm.chat(prompt))


@pytest.mark.parametrize(
    "option", [{"dimensions": "8"}, {"dimensions": 8.0}, {"dimensions": True}, {"normalize": "no"}]
)
def test_what_embed_does_not_take(weights: Path, option: dict[str, Any]) -> None:
    with echo(weights) as llm, pytest.raises(InvalidRequest, match=min(option)):
        llm.run(llm.embed("hello", **option))


def test_options_follow_the_one_precedence(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLLM_MAX_MODEL_LEN", "77")
    assert LLM(str(weights)).spec.max_model_len == 77
    assert LLM(str(weights), max_model_len=33).spec.max_model_len == 33
    with pytest.raises(ConfigurationError, match="max_model_len"):
        LLM(str(weights), max_modle_len=3)


def test_a_spec_is_taken_as_it_is(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLLM_MAX_MODEL_LEN", "77")
    spec = LLMSpec(model_id=str(weights), backend="echo")
    assert LLM(spec).spec is LLM.from_spec(spec).spec is spec
    with pytest.raises(ConfigurationError, match="seed was given beside an LLMSpec"):
        LLM(spec, seed=3)


def test_a_family_and_its_model_are_named_apart_or_together(weights: Path) -> None:
    apart = LLM("llama", model_id=str(weights), backend="echo").spec
    assert (apart.family, apart.model_id) == ("llama", str(weights))
    assert LLM(model_id="llama").spec == LLM("llama").spec
    assert LLM().spec == LLM("demo").spec


def test_weights_whose_place_is_known_are_not_looked_for(weights: Path) -> None:
    with LLM.from_spec(LLMSpec(model_id="no/such", backend="echo"), weights) as llm:
        assert llm.weights_dir == weights
        assert llm(TEXT, max_tokens=3).usage.completion_tokens == 3


def test_a_models_own_defaults_stand_between_the_spec_and_the_family(
    weights: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(weights, model)
    written = json.loads((model / "generation_config.json").read_text()) | {
        "temperature": 0.3,
        "top_k": 7,
    }
    (model / "generation_config.json").write_text(json.dumps(written))
    llm = echo(model, family="llama", top_k=3)
    params = llm.sampling_params(min_p=0.1)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.3, 3, 0.9, 0.1)
    assert llm.sampling_params(temperature=1.0).temperature == 1.0


def test_an_option_of_the_model_is_none_of_a_request(weights: Path) -> None:
    with echo(weights) as llm, pytest.raises(InvalidRequest, match="where the model is made"):
        llm("hello", max_model_len=64)
