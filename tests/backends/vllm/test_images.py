"""Prompts with images on real vLLM answer as transformers' processor and `generate()` do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest

from openllm.backends.base import join
from openllm.backends.stream import deltas
from openllm.backends.vllm.backend import BACKEND
from openllm.backends.vllm.params import images_input
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.media.decoding import ImageLimits, decode, digest
from openllm.media.processor import load_processor
from openllm.types import Image, PromptImages, SamplingParams, TokenRequest
from openllm.weights.tokenizer import is_installed, load_tokenizer
from tests import seeing

NEW, MARGIN = 8, 1e-3
needs_torchvision = pytest.mark.skipif(
    not is_installed("torchvision"), reason="vLLM's processors need torchvision"
)


def images(path: Path, text: str, files: list[bytes]) -> tuple[list[int], PromptImages]:
    tokenizer = load_tokenizer(path)
    limits = ImageLimits.of(Settings())
    pixels = decode([Image("")] * len(files), files, limits)
    looked = load_processor(path, tokenizer).look(text, pixels)
    marked = tokenizer.encode(text, add_special_tokens=False)
    count = len(looked.token_ids)
    return looked.token_ids, PromptImages(
        tuple(files), digest(files), text, marked, looked.end, count
    )


def test_the_prompt_is_marked_again(tmp_path: Path) -> None:
    """What was written behind the prompt (a thought that was closed) stays behind it."""
    path = seeing.write_seeing("idefics3", tmp_path / "model", weights=False)
    ids, found = images(
        path,
        "<s>a <image> b",
        [
            seeing.picture(1),
        ],
    )
    request = TokenRequest("id", [*ids, 5, 6], SamplingParams(), cache_salt="s", images=found)
    prompt = images_input(request, found)
    assert prompt["prompt_token_ids"] == [*found.marked_ids, 5, 6]
    assert [pixels.size for pixels in prompt["multi_modal_data"]["image"]] == [(40, 56)]
    assert prompt["cache_salt"] == "s"


@pytest.mark.vllm
@needs_torchvision
async def test_images_and_texts_are_answered_together(tmp_path: Path) -> None:
    kind = "qwen2_vl"
    path = seeing.write_seeing(kind, tmp_path / "model", wide=True)
    mark = seeing.WRITTEN[kind]
    asked = [
        (f"<s><|user|>look {mark} what is it?</s><|assistant|>", [seeing.picture(1)]),
        (f"<s><|user|>look {mark} what is it?</s><|assistant|>", [seeing.picture(2)]),
        (f"<s>{mark} or {mark} then</s>", [seeing.picture(3), seeing.picture(4, (90, 40))]),
    ]
    params = SamplingParams(temperature=0.0, max_tokens=NEW, ignore_eos=True)
    requests, own = [], []
    for text, files in asked:
        ids, found = images(path, text, files)
        requests.append(TokenRequest("id", ids, params, images=found))
        own.append(seeing.answer(kind, path, seeing.inputs(kind, path, text, files), NEW))
    spec = LLMSpec(model_id=str(path), max_num_seqs=8, dtype="float32", max_model_len=128)
    backend = BACKEND(spec, path)
    await backend.start()
    try:
        assert backend.info.images

        async def tokens(request: TokenRequest) -> list[int]:
            parts = [delta async for delta in deltas(backend, request)]
            whole = parts[0]
            for part in parts[1:]:
                whole = join(whole, part)
            return whole.token_ids

        asked_at_once = [attrs.evolve(one, request_id=f"{at}") for at, one in enumerate(requests)]
        answers = await asyncio.gather(*map(tokens, asked_at_once))
    finally:
        await backend.close()
    for answer, (right, gaps) in zip(answers, own, strict=True):
        clear = next((at for at, gap in enumerate(gaps) if gap < MARGIN), NEW)
        assert answer[:clear] == right[:clear]
