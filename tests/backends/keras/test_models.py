"""Real KerasHub models, tiny and random: their tokens and log probabilities are those of the numpy
models.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from openllm.backends.base import Backend
from openllm.backends.keras import loader
from openllm.backends.select import find_backend
from openllm.backends.stream import deltas as deltas_of
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    InvalidRequest,
    UnsupportedFeature,
    WeightsError,
)
from openllm.types import SamplingParams, Structure, StructureKind, TokenDelta, TokenRequest
from tests.backends.keras.checkpoints import CONFIGS, VOCAB, write_checkpoint
from tests.backends.keras.reference import NumpyModel

DEMO = Path(__file__).parents[3] / "openllm" / "demo"
pytestmark = pytest.mark.keras


@pytest.fixture(params=["flax", "tf"])
def kind(request: pytest.FixtureRequest) -> type[Backend]:
    backend = find_backend(request.param)
    if why := backend.unusable(LLMSpec(model_id="x"), Settings()):
        pytest.skip(why)
    return backend


def made(kind: type[Backend], path: Path, **fields: Any) -> Backend:
    return kind(LLMSpec(model_id=str(path), **fields), path)


async def ask(backend: Backend, prompt: Sequence[int], **params: Any) -> list[TokenDelta]:
    asked = SamplingParams(
        **{"temperature": 0, "max_tokens": 12, "ignore_eos": True, "logprobs": 0, **params}
    )
    request = TokenRequest("request", list(prompt), asked)
    return [delta async for delta in deltas_of(backend, request)]


def tokens(deltas: Sequence[TokenDelta], index: int = 0) -> list[int]:
    return [token for delta in deltas if delta.index == index for token in delta.token_ids]


def prompt_of(size: int) -> list[int]:
    return [(at * 31 + size) % VOCAB for at in range(size)]


@pytest.mark.parametrize("name", CONFIGS)
async def test_a_family_gives_the_reference_one_at_a_time_and_together(
    tmp_path: Path, kind: type[Backend], name: str
) -> None:
    path = write_checkpoint(tmp_path, name)
    reference, backend = NumpyModel(path), made(kind, path, max_num_seqs=2)
    await backend.start()
    prompts = [prompt_of(size) for size in (1, 85, 30)]
    alone = await ask(backend, prompts[1])
    together = await asyncio.gather(*(ask(backend, prompt) for prompt in prompts))
    assert tokens(together[1]) == tokens(alone)
    for prompt, deltas in zip(prompts, together, strict=True):
        reference.assert_greedy(prompt, tokens(deltas))
        found = [entry.logprob for delta in deltas for entry in delta.logprobs or ()]
        assert found == pytest.approx(reference.logprobs(prompt, tokens(deltas)), abs=1e-4)
    await backend.close()


async def test_one_model_does_all_a_request_can_ask(tmp_path: Path, kind: type[Backend]) -> None:
    path = write_checkpoint(tmp_path, "llama")
    backend = made(kind, path, max_model_len=150)
    await backend.start()
    info = backend.info
    assert (info.max_model_len, info.vocab_size, info.eos_token_ids) == (150, VOCAB, (2,))
    assert (info.dtype, info.device) == ("float32", "cpu")

    ends = await ask(backend, prompt_of(5), logit_bias={2: 100.0}, ignore_eos=False)
    assert (tokens(ends), ends[-1].finish_reason) == ([2], "stop")
    whole = await ask(backend, prompt_of(5))
    stop = tokens(whole)[3]
    cut = await ask(backend, prompt_of(5), stop_token_ids=(stop,))
    assert tokens(cut) == tokens(whole)[: tokens(whole).index(stop) + 1]
    assert (cut[-1].finish_reason, cut[-1].stop_reason) == ("stop", stop)
    longest = await ask(backend, prompt_of(100), max_tokens=50)
    NumpyModel(path).assert_greedy(prompt_of(100), tokens(longest))

    seeded = {"temperature": 1.0, "seed": 4, "n": 3, "max_tokens": 6, "logprobs": 2}
    first, *_ = await asyncio.gather(
        ask(backend, prompt_of(7), **seeded), ask(backend, prompt_of(40))
    )
    second = await ask(backend, prompt_of(7), **seeded)
    assert [tokens(first, at) for at in range(3)] == [tokens(second, at) for at in range(3)]
    assert len({tuple(tokens(first, at)) for at in range(3)}) == 3
    assert all(len(entry.top) == 2 for delta in first for entry in delta.logprobs or ())
    assert backend.stats().running == backend.stats().waiting == 0
    await refuses(backend)
    await backend.close()


async def refuses(backend: Backend) -> None:
    """What this engine cannot do is said before a request is taken."""
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (UnsupportedFeature, {"structure": Structure(StructureKind.JSON_OBJECT)}),
        (UnsupportedFeature, {"prompt_logprobs": 1}),
        (InvalidRequest, {"logit_bias": {VOCAB: 1.0}}),
        (InvalidRequest, {"stop_token_ids": (VOCAB,)}),
    ]
    for error, params in cases:
        with pytest.raises(error):
            await ask(backend, [1], **params)
    with pytest.raises(InvalidRequest):
        await ask(backend, [VOCAB])
    with pytest.raises(AdapterNotFound):
        backend.check(TokenRequest("request", [1], SamplingParams(max_tokens=1), adapter="a"))


async def test_it_starts_again_after_closing_and_ends_what_was_live(
    tmp_path: Path, kind: type[Backend]
) -> None:
    backend = made(kind, write_checkpoint(tmp_path, "gpt2"))
    await backend.start()
    assert backend.load_model().backbone is not None
    live = asyncio.create_task(ask(backend, [3], max_tokens=90))
    await asyncio.sleep(0.05)
    await backend.close()
    await backend.close()
    assert (await live)[-1].finish_reason == "cancelled"
    await backend.start()
    assert len(tokens(await ask(backend, [3], max_tokens=2))) == 2
    await backend.close()


async def test_shards_and_bfloat16_weights_load(tmp_path: Path, kind: type[Backend]) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    path = write_checkpoint(tmp_path, "llama")
    whole = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {
        "model-00001-of-00002.safetensors": names[:9],
        "model-00002-of-00002.safetensors": names[9:],
    }
    for shard, inside in parts.items():
        save_file({name: whole[name].astype(bfloat16) for name in inside}, path / shard)
    index = {"weight_map": {name: shard for shard, inside in parts.items() for name in inside}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    backend = made(kind, path)
    await backend.start()
    NumpyModel(path).assert_greedy(prompt_of(20), tokens(await ask(backend, prompt_of(20))))
    await backend.close()


def test_weights_that_kerashub_would_leave_out_are_noticed(
    tmp_path: Path, kind: type[Backend]
) -> None:
    path = write_checkpoint(tmp_path, "llama")
    weights = load_file(path / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.bias"] = np.ones(32, np.float32)
    save_file(weights, path / "model.safetensors")
    with pytest.raises(WeightsError, match="another architecture"):
        made(kind, path).load_model()


@pytest.mark.parametrize("spoil", ["missing", "garbage"])
def test_broken_weights_are_one_clear_error(
    tmp_path: Path, kind: type[Backend], spoil: str
) -> None:
    path = write_checkpoint(tmp_path, "llama")
    if spoil == "missing":
        weights = load_file(path / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, path / "model.safetensors")
    else:
        (path / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(WeightsError, match="KerasHub cannot load") as caught:
        made(kind, path).load_model()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("error", "passes"), [(0.0, True), (0.05, False), (float("nan"), False)])
def test_the_logits_are_held_against_transformers_where_torch_is(
    tmp_path: Path, kind: type[Backend], monkeypatch: pytest.MonkeyPatch, error: float, passes: bool
) -> None:
    path = write_checkpoint(tmp_path, "gpt2")
    real, asked = importlib.util.find_spec, []

    def logits(weights_dir: Path, token_ids: Any) -> Any:
        asked.append(weights_dir)
        return NumpyModel(weights_dir).logits(token_ids) + error

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if name == "torch" else real(name)
    )
    monkeypatch.setattr(loader, "_transformers_logits", logits)
    backend = made(kind, path)
    if passes:
        backend.load_model()
    else:
        with pytest.raises(WeightsError, match="differ from transformers"):
            backend.load_model()
    made(kind, path, engine_args={"verify": False}).load_model()
    assert asked == [path]


@pytest.mark.parametrize(
    "fields", [{"max_model_len": 201}, {"device": "cuda:1"}, {"dtype": "float16"}]
)
async def test_what_this_model_or_machine_cannot_do_is_refused(
    tmp_path: Path, kind: type[Backend], fields: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(fields))):
        await made(kind, write_checkpoint(tmp_path, "llama"), **fields).start()


@pytest.mark.skipif(
    not any(DEMO.glob("model*.safetensors")), reason="the demo model is not in this checkout"
)
async def test_the_demo_model_answers_as_its_numpy_twin(kind: type[Backend]) -> None:
    backend, reference = made(kind, DEMO, max_num_seqs=2), NumpyModel(DEMO)
    await backend.start()
    prompts = [prompt_of(6), prompt_of(40)]
    for prompt, deltas in zip(
        prompts, await asyncio.gather(*(ask(backend, p) for p in prompts)), strict=True
    ):
        reference.assert_greedy(prompt, tokens(deltas))
    await backend.close()
