"""What is not here says so in OpenAI's shape."""

from __future__ import annotations

import openai
import pytest


def test_what_is_missing_is_said(official: openai.OpenAI) -> None:
    for ask in (
        lambda: official.moderations.create(input="x"),
        lambda: official.uploads.cancel("upload_1"),
        lambda: official.images.generate(prompt="x"),
    ):
        with pytest.raises(openai.NotFoundError, match="This server") as caught:
            ask()
        assert caught.value.code == "unsupported_feature"
