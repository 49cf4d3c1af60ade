"""From the images of a conversation to what an engine is given: fetched, then decoded and prepared
on a few threads of their own.

So no event loop waits for them, and a burst of requests has only the images of a few in memory as
pixels, or on their way from elsewhere. The files of a request stay until its answer is done.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature, option
from openllm.media.decoding import (
    ImageLimits,
    decode,
    digest,
    is_remote,
    read_data,
    require_few,
)
from openllm.media.processor import Looked, Processor
from openllm.types import Image, PromptImages

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

# So many requests' images are decoded at once in this process; Pillow takes 4 bytes for a
# pixel, a few times that for the image that is being decoded; the model's processor takes more.
WORKERS = ThreadPoolExecutor(2, "openllm-images")
# So many requests at once fetch their images, or wait with them to be decoded, on one event loop.
FETCHING = 4
_ROOMS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def look(
    processor: Processor,
    text: str,
    marked_ids: list[int],
    images: Sequence[Image],
    settings: Settings,
) -> tuple[list[int], PromptImages]:
    """The token ids of a prompt with images, and the images. `text` has one mark for each, and
    `marked_ids` are its tokens. Errors: InvalidRequest, UnsupportedFeature.
    """
    limits = ImageLimits.of(settings)
    require_few(images, limits)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as held:
        if any(map(is_remote, images)):  # those in the request itself wait for no other server
            await held.enter_async_context(_ROOMS.setdefault(loop, asyncio.Semaphore(FETCHING)))
        fetched = await _fetched(images, limits, settings)
        work = partial(_look, processor, text, images, fetched, limits)
        files, key, looked = await loop.run_in_executor(WORKERS, work)
    token_ids = looked.token_ids
    found = PromptImages(files, key, text, marked_ids, looked.end, len(token_ids), looked.features)
    return token_ids, found


async def _fetched(
    images: Sequence[Image], limits: ImageLimits, settings: Settings
) -> dict[int, bytes]:
    """The files of images that are elsewhere, one after the other, by their place."""
    remote = {at: image for at, image in enumerate(images) if is_remote(image)}
    if remote and not settings.image_urls:
        first = next(iter(remote.values()))
        raise UnsupportedFeature(
            f"{first.name} images are not fetched from elsewhere.",
            hint=f"Send the image itself, as a data: URI; the operator allows URLs with"
            f" {option('image_urls')}.",
            param=first.param,
        )
    from openllm.media.fetching import fetch  # brings an HTTP client, which most servers never need

    return {at: await fetch(image, limits) for at, image in remote.items()}


def _look(
    processor: Processor,
    text: str,
    images: Sequence[Image],
    fetched: dict[int, bytes],
    limits: ImageLimits,
) -> tuple[tuple[bytes, ...], str, Looked]:
    """The files, their digest, and what the processor makes of them. For a thread: it is slow."""
    files = tuple(
        fetched[at] if at in fetched else read_data(image, limits)
        for at, image in enumerate(images)
    )
    looked = processor.look(text, decode(images, files, limits))
    return files, digest(files), looked


def look_again(processor: Processor, images: PromptImages) -> Looked:
    """The same in an engine's process, where no more than the files has come. Errors:
    InvalidRequest.
    """
    return processor.look(images.text, decode_again(images))


def decode_again(images: PromptImages) -> list[Pixels]:
    """The pixels of images that were looked at before."""
    size = max(map(len, images.files))
    limits = ImageLimits(len(images.files), size, sys.maxsize)
    return decode([Image("")] * len(images.files), images.files, limits)
