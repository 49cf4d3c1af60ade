"""Files given for a question: images for its message, a schema for its answer."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openllm.errors import ConfigurationError


def user_content(text: str, urls: Sequence[str]) -> str | list[dict[str, Any]]:
    """The content of a user's message: the text, or parts of it and of the images at `urls`."""
    if not urls:
        return text
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*images, {"type": "text", "text": text}]


def read_schema(path: Path) -> dict[str, Any]:
    """What asks for an answer by the JSON schema in a file. Errors: ConfigurationError."""
    try:
        schema = json.loads(_read(path).decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{str(path)!r} is not UTF-8 text.") from None
    except ValueError as error:
        raise ConfigurationError(f"{str(path)!r} is not JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise ConfigurationError(
            f"{str(path)!r} is no JSON schema.", hint='Write an object, such as {"type": "object"}.'
        )
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def image_url(path: Path) -> str:
    """A file of an image as a data: URL. Errors: ConfigurationError."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith("image/"):
        raise ConfigurationError(
            f"{str(path)!r} is no image by its name.", hint="Give a .png, .jpg, .webp or .gif file."
        )
    return f"data:{kind};base64,{base64.b64encode(_read(path)).decode('ascii')}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
