"""The short way of tokens under load: what a late reader gets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from openllm.backends.stream import deltas
from openllm.backends.vllm.backend import BACKEND
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError
from openllm.types import SamplingParams, TokenDelta, TokenRequest, new_request_id
from tests.tiny import write_llama

STREAMS, TOKENS = (
    150,
    60,
)  # more streams than the 128 outputs that AsyncLLM takes at once by default


@pytest.mark.vllm
async def test_steps_that_wait_are_taken_at_once_and_their_tokens_joined(tmp_path: Path) -> None:
    model = write_llama(tmp_path / "model")
    backend = BACKEND(LLMSpec(model_id=str(model), max_num_seqs=STREAMS), model)
    await backend.start()
    params = SamplingParams(max_tokens=TOKENS, ignore_eos=True, temperature=0.0)
    decoding = asyncio.Event()

    async def read() -> list[int]:
        sizes = []
        async for delta in deltas(backend, TokenRequest(new_request_id(), [1, 40, 50, 60], params)):
            sizes.append(len(delta.token_ids))
            decoding.set()
        return sizes

    try:
        readers = [asyncio.create_task(read()) for _ in range(STREAMS)]
        await decoding.wait()
        time.sleep(1.0)  # noqa: ASYNC251  the loop is held up; the engine is not
        found = await asyncio.gather(*readers)
    finally:
        await backend.close()
    assert {sum(sizes) for sizes in found} == {TOKENS}
    most = sorted(max(sizes) for sizes in found)
    assert most[STREAMS // 2] > 4, most


class Sizes:
    """A sink that notes how many tokens each delta has."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.over = asyncio.Event()

    def put(self, delta: TokenDelta) -> None:
        self.sizes.append(len(delta.token_ids))
        if delta.finish_reason is not None:
            self.over.set()

    def fail(self, error: OpenLLMError) -> None:
        raise error


@pytest.mark.vllm
async def test_while_others_wait_to_be_taken_in_only_the_first_token_is_in_a_hurry(
    tmp_path: Path,
) -> None:
    model = write_llama(tmp_path / "model")
    backend = BACKEND(LLMSpec(model_id=str(model)), model)
    crowd = ["somebody"]
    backend.others_wait = lambda: bool(crowd)
    await backend.start()
    params = SamplingParams(max_tokens=TOKENS, ignore_eos=True, temperature=0.0)

    async def read() -> list[int]:
        found = Sizes()
        await backend.submit(TokenRequest(new_request_id(), [1, 40, 50, 60], params), found)
        await found.over.wait()
        return found.sizes

    try:
        sizes = await read()
        assert sum(sizes) == TOKENS
        assert sizes[0] == 1
        assert max(sizes) > 1
        crowd.clear()
        assert sum(await read()) == TOKENS
    finally:
        await backend.close()
