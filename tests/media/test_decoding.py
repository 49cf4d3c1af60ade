"""What becomes of the pixels of a file."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Pillow

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.media.decoding import ImageLimits, decode, digest, read_data
from openllm.types import Image

LIMITS = ImageLimits.of(Settings())


def written(pixels: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    pixels.save(out, kind, **options)
    return out.getvalue()


def decoded(file: bytes) -> Pillow.Image:
    return decode([Image("")], [file], LIMITS)[0]


def test_an_image_is_turned_as_its_exif_says() -> None:
    pixels = Pillow.new("RGB", (20, 10))
    exif = Pillow.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decoded(written(pixels, "JPEG", exif=exif)).size == (10, 20)


def test_what_is_transparent_is_white() -> None:
    pixels = Pillow.new("RGBA", (2, 1), (10, 20, 30, 0))
    pixels.putpixel((1, 0), (10, 20, 30, 255))
    found = decoded(written(pixels, "PNG"))
    assert [found.getpixel((at, 0)) for at in (0, 1)] == [(255, 255, 255), (10, 20, 30)]


def test_the_pixels_of_all_images_are_limited_before_any_is_decoded() -> None:
    limits = ImageLimits(9, 1000, 6)
    whole = written(Pillow.new("RGB", (3, 2)), "PNG")
    images = [Image("", f"at[{place}]") for place in range(3)]
    sizes = [pixels.size for pixels in decode(images[:2], [whole, whole], limits)]
    assert sizes == [(3, 2), (3, 2)]
    cut = whole[:-20]  # would be found broken, were it decoded
    with pytest.raises(InvalidRequest, match="to 18; at most 12 are allowed") as caught:
        decode(images, [cut, whole, whole], limits)
    assert caught.value.param == "at[2]"


def test_every_mode_becomes_rgb() -> None:
    for mode in ("1", "L", "LA", "P", "I;16", "RGBA"):
        file = written(Pillow.new(mode, (3, 2)), "PNG")
        assert decoded(file).mode == "RGB"
    assert decoded(written(Pillow.new("CMYK", (3, 2)), "JPEG")).mode == "RGB"


def test_greys_of_16_bits_become_greys_of_8() -> None:
    pixels, greys = Pillow.new("I;16", (5, 1)), (0, 300, 32768, 65000, 65535)
    for at, grey in enumerate(greys):
        pixels.putpixel((at, 0), grey)

    def found(**options: object) -> list[object]:
        seen = decoded(written(pixels, "PNG", **options))
        return [seen.getpixel((at, 0)) for at in range(len(greys))]

    assert found() == [(grey,) * 3 for grey in (0, 1, 128, 253, 255)]
    assert found(transparency=300) == [(grey,) * 3 for grey in (0, 255, 128, 253, 255)]


def test_a_uri_may_be_written_in_several_ways() -> None:
    for uri in (
        "data:image/png;base64,aGVsbG8=",
        "data:;base64,aGVsbG8",
        "DATA:image/png;charset=x;BASE64,aGVs\nbG8=",
        "data:image/png;base64,aGVsbG8%3D",
        "data:text/plain,hel%6co",
    ):
        assert read_data(Image(uri), LIMITS) == b"hello"


def test_a_digest_tells_the_cuts_between_files() -> None:
    several = ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"c", b"ab"])
    assert len({digest(files) for files in several}) == len(several)
