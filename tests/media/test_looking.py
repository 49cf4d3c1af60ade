"""The images of many requests are looked at by turns, away from the event loop."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image as Pillow

from openllm.config.settings import Settings
from openllm.media import fetching as fetching_module
from openllm.media import looking
from openllm.media.decoding import ImageLimits
from openllm.media.looking import look
from openllm.media.processor import Processor
from openllm.types import Image


def made(**_: Any) -> dict[str, list[list[int]]]:
    """What a model's processor would make."""
    return {"input_ids": [[1, 2]]}


def picture() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (3, 2)).save(out, "PNG")
    return out.getvalue()


def inside(file: bytes) -> Image:
    return Image("data:image/png;base64," + base64.b64encode(file).decode())


PROCESSOR = Processor(made, None)
SETTINGS = Settings(image_urls=True)
ELSEWHERE = [Image("https://example.com/a.png")]


async def looked_at(images: Sequence[Image]) -> tuple[bytes, ...]:
    _, found = await look(PROCESSOR, "", [1], images, SETTINGS)
    return found.files


async def test_files_are_read_and_hashed_by_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def told(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            threads.append(threading.current_thread().name)
            return work(*given)

        return done

    for name in ("read_data", "decode", "digest"):
        monkeypatch.setattr(looking, name, told(getattr(looking, name)))
    assert await looked_at([inside(picture())]) == (picture(),)
    assert len(threads) == 3
    assert all(name.startswith("openllm-images") for name in threads)


async def test_a_few_requests_fetch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file, fetching = picture(), 0
    full, go = asyncio.Event(), asyncio.Event()

    async def fetch(image: Image, limits: ImageLimits) -> bytes:
        nonlocal fetching
        fetching += 1
        if fetching == looking.FETCHING:
            full.set()
        assert fetching <= looking.FETCHING
        await go.wait()
        fetching -= 1
        return file

    monkeypatch.setattr(fetching_module, "fetch", fetch)
    asked = [asyncio.create_task(looked_at(ELSEWHERE)) for _ in range(3 * looking.FETCHING)]
    await full.wait()
    assert await looked_at([inside(file)]) == (file,)  # waits for none of them
    assert fetching == looking.FETCHING
    go.set()
    assert await asyncio.gather(*asked) == [(file,)] * len(asked)
