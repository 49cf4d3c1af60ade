"""Files of images: read from a URI, and decoded within limits into pixels."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import attrs

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, option
from openllm.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

# What is decoded, by Pillow's names; other formats are refused unread. Of one that moves the first
# picture is taken.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
DATA = "data:"
WEB = ("http://", "https://")
_BASE64 = ";base64"
_SPACE = str.maketrans("", "", " \t\r\n")
_WHITE = (255, 255, 255)


@attrs.frozen
class ImageLimits:
    """How much the images of one request may be."""

    count: int
    bytes: int  # of one file
    pixels: int  # of one image

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        return cls(settings.max_images, settings.max_image_bytes, settings.max_image_pixels)


def require_few(images: Sequence[Image], limits: ImageLimits) -> None:
    """Errors: InvalidRequest for more than are allowed."""
    if len(images) > limits.count:
        first = images[limits.count]
        raise InvalidRequest(
            f"There are {len(images)} images; at most {limits.count} are allowed.",
            hint=f"The operator allows more with {option('max_images')}.",
            param=first.param,
        )


def is_remote(image: Image) -> bool:
    """Whether it is somewhere else, and has to be fetched."""
    return image.url[:8].lower().startswith(WEB)


def read_data(image: Image, limits: ImageLimits) -> bytes:
    """The file in a `data:` URI (RFC 2397). Errors: InvalidRequest."""
    head, comma, data = image.url.partition(",")
    if not comma or not head[: len(DATA)].lower().startswith(DATA):
        raise _bad(image, "must be a data: URI with a base64 image", "data:image/png;base64,...")
    if not head.lower().endswith(_BASE64):
        file = unquote_to_bytes(data)
    else:
        require_size(image, len(data) * 3 // 4, limits)
        if "%" in data:
            data = unquote_to_bytes(data).decode("latin-1")
        data = data.translate(_SPACE).rstrip("=")
        try:
            file = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise _bad(image, "is not base64") from None
    require_size(image, len(file), limits)
    return file


def require_size(image: Image, size: int, limits: ImageLimits) -> None:
    """Errors: InvalidRequest for a file of more bytes than are allowed."""
    if size > limits.bytes:
        raise _bad(image, f"has {size} bytes; at most {limits.bytes} are allowed")


def decode(image: Image, file: bytes, limits: ImageLimits) -> Pixels:
    """The pixels of a file, in RGB: turned as its EXIF says, what is transparent white. Errors:
    InvalidRequest for what is no whole image of `FORMATS`, or has more pixels than are allowed.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    broken = (
        *(OSError, ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, TypeError),
        *(struct.error, AttributeError, NotImplementedError, Pillow.DecompressionBombError),
    )
    try:
        opened = Pillow.open(io.BytesIO(file), formats=FORMATS)  # reads the head alone
    except Pillow.DecompressionBombError:
        raise _too_large(image, "too many", limits) from None
    except broken:
        names = ", ".join(FORMATS)
        raise _bad(image, f"is no image of a format that is taken ({names})") from None
    width, height = opened.size
    if width * height > limits.pixels:
        raise _too_large(image, f"{width} x {height}", limits)
    if not width or not height:
        raise _bad(image, "has no pixels")
    try:
        opened.load()
        turned = ImageOps.exif_transpose(opened)
        return _opaque(turned)
    except broken:
        raise _bad(image, "is broken, or was cut") from None


def _opaque(pixels: Pixels) -> Pixels:
    from PIL import Image as Pillow

    if not pixels.has_transparency_data:
        return pixels.convert("RGB")
    clear = pixels.convert("RGBA")
    page = Pillow.new("RGB", clear.size, _WHITE)
    page.paste(clear, mask=clear.getchannel("A"))
    return page


def digest(files: Sequence[bytes]) -> str:
    """What tells these files, in this order, from all others (SHA-256)."""
    found = hashlib.sha256()
    for file in files:
        found.update(hashlib.sha256(file).digest())
    return found.hexdigest()


def _too_large(image: Image, size: str, limits: ImageLimits) -> InvalidRequest:
    return _bad(image, f"has {size} pixels; at most {limits.pixels} in all are allowed")


def _bad(image: Image, what: str, hint: str | None = None) -> InvalidRequest:
    told = None if hint is None else f"Send {hint}"
    return InvalidRequest(f"{image.name} {what}.", hint=told, param=image.param)
