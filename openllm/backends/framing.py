"""Frames on a stream of bytes between processes: four bytes of length (big endian), then the
body.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from openllm.errors import InvalidRequest

PREFIX = 4  # bytes of length before each frame
LARGEST = 256 * 1024**2  # bytes of one frame: the vectors of a thousand inputs fit


def framed(encoder: msgspec.msgpack.Encoder, value: object) -> bytearray:
    """The bytes of a frame whose body is `value`. Errors: InvalidRequest when it is larger than
    `LARGEST`.
    """
    data = bytearray(PREFIX)
    encoder.encode_into(value, data, PREFIX)
    size = len(data) - PREFIX
    if size > LARGEST:
        raise InvalidRequest(
            f"This needs a message of {size} bytes; {LARGEST} is the most.",
            hint="Split it into several requests.",
        )
    data[:PREFIX] = size.to_bytes(PREFIX, "big")
    return data


class Splitter:
    """Cuts a stream of bytes into frames' bodies. Errors: ValueError for a frame larger than
    `LARGEST`.
    """

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data` completes."""
        self._data += data
        start, end = 0, len(self._data)
        while end - start >= PREFIX:
            size = int.from_bytes(self._data[start : start + PREFIX], "big")
            if size > LARGEST:
                raise ValueError(f"a frame of {size} bytes")
            stop = start + PREFIX + size
            if stop > end:
                break
            yield bytes(self._data[start + PREFIX : stop])
            start = stop
        del self._data[:start]
