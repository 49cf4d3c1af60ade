"""An engine in another process is sent the files of images, and makes the same of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from openllm.remote.backend import RunnerBackend
from openllm.remote.server import EngineServer
from openllm.types import Image
from tests import seeing


def asked(*files: bytes) -> list[dict[str, Any]]:
    urls = ("data:;base64," + base64.b64encode(file).decode() for file in files)
    images = [{"type": "image", "image": Image(url)} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": "what is it?"}]}]


async def test_an_image_is_seen_in_another_process(tmp_path: Path) -> None:
    path = seeing.write_seeing("qwen2_vl", tmp_path / "model")
    spec = LLMSpec(model_id=str(path), backend="pytorch", dtype="float32", device="cpu")
    server = EngineServer(LLM.from_spec(spec, path), tmp_path / "private" / "engine.sock")
    await server.listen()
    await server.start()
    user = LLM.from_spec(
        spec, path, lambda spec, place: (RunnerBackend(spec, place, server.address), "a test")
    )
    async with user:
        told: dict[str, Any] = {"max_tokens": 8, "temperature": 0.0, "ignore_eos": True}
        one, other = asked(seeing.picture(1)), asked(seeing.picture(2))
        there = [await user.chat(messages, **told) for messages in (one, other, one)]
        here = [await server.llm.chat(messages, **told) for messages in (one, other)]
    await server.close()
    tokens = [answer.outputs[0].token_ids for answer in there]
    assert tokens[:2] == [answer.outputs[0].token_ids for answer in here]
    assert tokens[2] == tokens[0] != tokens[1]
    assert there[0].usage.cached_tokens == 0
    assert there[1].usage.cached_tokens == 0
    assert there[2].usage.cached_tokens == len(there[2].prompt_token_ids) - 1
