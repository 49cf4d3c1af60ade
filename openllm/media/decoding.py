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

# The images of one request may have this many times the pixels that one of them may: two at the
# limit, or a handful of photographs.
LARGEST_IMAGES = 2
# What is decoded, by Pillow's names; other formats are refused unread. Of one that moves the first
# picture is taken.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
DATA = "data:"
WEB = ("http://", "https://")
_BASE64 = ";base64"
_SPACE = str.maketrans("", "", " \t\r\n")
# What Pillow raises for files that are not what they seem.
_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, TypeError),
    *(struct.error, AttributeError, NotImplementedError),
)
_STEP = 257  # from one grey of 8 bits to the next, in greys of 16 (65535 / 255)
_WHITE = (255, 255, 255)


@attrs.frozen
class ImageLimits:
    """How much the images of one request may be."""

    count: int
    bytes: int  # of one file
    pixels: int  # of one image; `LARGEST_IMAGES` times that of all

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


def decode(images: Sequence[Image], files: Sequence[bytes], limits: ImageLimits) -> list[Pixels]:
    """The pixels of the files of a request's images, in RGB: turned as their EXIF says, what is
    transparent white. All heads are read before anything is decoded. Errors: InvalidRequest for
    what is no whole image of `FORMATS`, and for more pixels than are allowed, in one or in all.
    """
    opened = [_open(image, file, limits) for image, file in zip(images, files, strict=True)]
    most, found = LARGEST_IMAGES * limits.pixels, 0
    for image, head in zip(images, opened, strict=True):
        found += head.width * head.height
        if found > most:
            raise InvalidRequest(
                f"{image.name} brings the pixels of the request's images to {found}; at most"
                f" {most} are allowed in all.",
                hint=f"Send fewer or smaller ones; the operator allows {LARGEST_IMAGES} times"
                f" {option('max_image_pixels')}.",
                param=image.param,
            )
    return [_load(image, head) for image, head in zip(images, opened, strict=True)]


def _open(image: Image, file: bytes, limits: ImageLimits) -> Pixels:
    """An image of which the head alone is read."""
    from PIL import Image as Pillow

    try:
        opened = Pillow.open(io.BytesIO(file), formats=FORMATS)
    except Pillow.DecompressionBombError:
        raise _too_large(image, "too many", limits) from None
    except _BROKEN:
        names = ", ".join(FORMATS)
        raise _bad(image, f"is no image of a format that is taken ({names})") from None
    width, height = opened.size
    if width * height > limits.pixels:
        raise _too_large(image, f"{width} x {height}", limits)
    if not width or not height:
        raise _bad(image, "has no pixels")
    return opened


def _load(image: Image, opened: Pixels) -> Pixels:
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        opened.load()
        return _opaque(ImageOps.exif_transpose(opened))
    except (*_BROKEN, Pillow.DecompressionBombError):
        raise _bad(image, "is broken, or was cut") from None
    finally:
        opened.close()  # a copy is returned; two of each would double the peak


def _opaque(pixels: Pixels) -> Pixels:
    from PIL import Image as Pillow

    if pixels.mode == "I" or pixels.mode.startswith("I;16"):
        pixels = _eight_bits(pixels)
    if not pixels.has_transparency_data:
        return pixels.convert("RGB")
    clear = pixels.convert("RGBA")
    page = Pillow.new("RGB", clear.size, _WHITE)
    page.paste(clear, mask=clear.getchannel("A"))
    return page


def _eight_bits(pixels: Pixels) -> Pixels:
    """Greys of 16 bits as of 8; Pillow itself makes 255 of all above that."""
    grey = pixels.convert("I").point(lambda value: value * (1 / _STEP) + 0.5).convert("L")
    clear = pixels.info.get("transparency")
    if isinstance(clear, int):  # the grey that is transparent (PNG's tRNS)
        grey.info["transparency"] = round(clear / _STEP)
    return grey


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
