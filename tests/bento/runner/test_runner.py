"""A Runner without BentoML's server: made, initialised in this process, refused, scheduled."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from bentoml._internal.context import server_context

import openllm
from openllm.bento.runner.handles import RemoteHandle
from openllm.bento.runner.runner import Runner
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, EngineDead, InvalidRequest, UnknownFamily
from openllm.llm.llm import LLM
from tests.bento.models import write_echo_adapter


@pytest.fixture
def runner(echo_model: Path, tmp_path: Path) -> Iterator[Runner]:
    adapter = write_echo_adapter(tmp_path / "pirate")
    found = openllm.Runner(str(echo_model), backend="echo", adapters=[f"{adapter}:pirate"])
    yield found
    found.destroy()


def test_its_methods_and_resources(runner: Runner) -> None:
    import bentoml

    assert isinstance(runner, bentoml.legacy.Runner)
    assert runner.name == "parrot"
    kind = runner.runnable_class
    assert kind.SUPPORTED_RESOURCES == ("nvidia.com/gpu", "amd.com/gpu", "cpu")
    assert kind.SUPPORTS_CPU_MULTI_THREADING
    batchable = {method.name: method.config.batchable for method in runner.runner_methods}
    assert batchable == {
        "generate": False,
        "generate_iterator": False,
        "embed": True,
        "adapters": False,
        "stats": False,
    }
    assert next(m for m in runner.runner_methods if m.name == "generate_iterator").config.is_stream


def test_before_it_is_initialised_there_is_one_clear_error(runner: Runner) -> None:
    with pytest.raises(EngineDead, match=r"'parrot' has not been initialised.*init_local"):
        runner.generate.run("hello")
    with pytest.raises(EngineDead, match="init_local"):
        asyncio.run(runner.generate.async_run("hello"))
    with pytest.raises(EngineDead, match="init_local"):
        runner.generate_iterator.async_stream("hello")


def test_in_a_script(runner: Runner) -> None:
    runner.init_local()
    assert runner.adapters.run() == ("pirate",)
    assert runner.generate.run("hello there", max_tokens=20).text == "hello there"
    assert (
        runner.generate.run("hello there", max_tokens=20, adapter_name="pirate").text
        == "hello there"
    )
    first, second = runner.embed.run(["one", "two"])
    assert len(first) == len(second) > 1
    with pytest.raises(InvalidRequest):
        runner.generate.run("hello", temperature=-1)


def test_a_stream_in_a_script(runner: Runner) -> None:
    runner.init_local()
    pieces = [
        piece.outputs[0].text
        for piece in runner.generate_iterator.run("hello there", max_tokens=20)
    ]
    assert "".join(pieces) == "hello there"
    assert len(pieces) > 1


async def test_batches_are_lists_and_nothing_else(runner: Runner) -> None:
    """BentoML would take a text for a list of letters; and it never answers a call with further
    arguments.
    """
    runner.init_local()
    with pytest.raises(InvalidRequest, match="list of texts"):
        runner.embed.run("hello")
    with pytest.raises(InvalidRequest, match="one list"):
        await runner.embed.async_run(["hello"], dimensions=3)


def test_bentomls_own_options(echo_model: Path) -> None:
    runner = openllm.Runner(
        str(echo_model), backend="echo", name="polly", embedded=True, max_batch_size=7
    )
    assert (runner.name, runner.embedded) == ("polly", True)
    assert {method.max_batch_size for method in runner.runner_methods} == {7}
    assert runner.llm.spec.name == "polly"


async def test_a_copy_of_a_runner(runner: Runner) -> None:
    runner.init_local()
    for other in (copy.deepcopy(runner), pickle.loads(pickle.dumps(runner))):
        assert (other.name, other.llm.spec) == (runner.name, runner.llm.spec)
        assert "parrot" in repr(other)
        assert not await other.runner_handle_is_ready()
    assert await runner.runner_handle_is_ready()


async def test_in_a_coroutine(runner: Runner) -> None:
    runner.init_local(quiet=True)
    answers = await asyncio.gather(
        *(runner.generate.async_run("hello there", max_tokens=20) for _ in range(5))
    )
    assert [answer.text for answer in answers] == ["hello there"] * 5
    pieces = [
        piece.outputs[0].text
        async for piece in runner.generate_iterator.async_stream("hello there")
    ]
    assert "".join(pieces) == "hello there"
    assert len(pieces) > 1


async def test_a_token_between_processes_costs_the_same_at_any_prompt(
    echo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(echo_model, tmp_path / "long")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    monkeypatch.setattr(server_context, "service_type", "runner")  # as where BentoML serves it
    runner = openllm.Runner(str(model), backend="echo")
    runner.init_local()

    async def lines(prompt: int) -> list[str]:
        options = {"max_tokens": 40, "ignore_eos": True}
        stream = runner.generate_iterator.async_stream([9] * prompt, **options)
        return [line async for line in stream]

    (_, *short), (first, *long) = await lines(10), await lines(1500)
    assert len(long) == len(short) > 30
    assert json.loads(first)["prompt_token_ids"] == [9] * 1500
    assert max(map(len, long)) <= max(map(len, short)) + len("1500") - len("10")
    assert max(map(len, long)) < 400  # characters, all of them ASCII
    runner.destroy()


async def test_closing_a_stream_cancels_it(runner: Runner) -> None:
    runner.init_local()
    stream = runner.generate_iterator.async_stream("hello there", max_tokens=400, ignore_eos=True)
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(5):
        # an engine has no event for it
        while (await runner.stats.async_run()).running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_destroyed_it_refuses_and_can_be_initialised_again(runner: Runner) -> None:
    runner.init_local()
    runner.destroy()
    with pytest.raises(EngineDead):
        runner.generate.run("hello")
    runner.init_local()
    assert runner.generate.run("hello").text == "hello"


def test_an_llm_becomes_a_runner(echo_model: Path) -> None:
    llm = LLM.from_spec(LLMSpec(model_id=str(echo_model), backend="echo", name="Poll.y"))
    assert llm.runner is llm.runner
    assert llm.to_runner(name="other").name == "other"
    assert llm.runner.name == "poll.y"
    assert llm.runner.spec == llm.spec
    assert Runner(llm, name="other").llm is Runner.from_llm(llm).llm is llm
    assert Runner(llm.spec, name="other").spec is llm.spec
    with pytest.raises(ConfigurationError, match="no option 'nmae'"):
        llm.to_runner(nmae="x")


def test_the_model_is_named_as_everywhere() -> None:
    assert (
        openllm.Runner("llama", model_id="somebody/some-llama", backend="vllm").spec.family
        == "llama"
    )
    with pytest.raises(UnknownFamily, match="llama"):
        openllm.Runner("lama")


async def test_runners_are_not_reached_over_tcp(runner: Runner) -> None:
    """Its server unpickles what it is sent."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    BentoMLContainer.remote_runner_mapping.set({"parrot": "tcp://127.0.0.1:1"})
    try:
        runner.init_client()
        assert isinstance(runner._runner_handle, RemoteHandle)
        with pytest.raises(ConfigurationError, match="Unix sockets only"):
            await runner.generate.async_run("hello")
    finally:
        BentoMLContainer.remote_runner_mapping.reset()


def test_where_bentoml_would_use_tcp_it_does_not_start(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platform

    monkeypatch.setattr(platform, "release", lambda: "5.15.90.1-microsoft-standard-WSL2")
    with pytest.raises(ConfigurationError, match="TCP"):
        runner.scheduled_worker_env_map  # noqa: B018  a property that raises


BESIDE = """
import sys, bentoml, openllm

@bentoml.service
class Other:
    pass

Other.inject_config()  # what BentoML does when it serves or builds one
print(openllm.Runner(sys.argv[1], backend="echo").name)
"""


def test_a_service_of_the_new_style_in_the_same_process_does_no_harm(echo_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, str(echo_model)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "parrot", done.stderr


def test_making_one_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        openllm.Runner("demo", backend="echo")
