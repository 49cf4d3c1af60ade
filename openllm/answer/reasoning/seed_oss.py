"""Seed-OSS's thoughts: `<seed:think>...</seed:think>`."""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

OPEN, CLOSE = "<seed:think>", "</seed:think>"


class SeedThought(ThoughtReader):
    markers = (OPEN, CLOSE)
    opens, closes = Phrases(OPEN), Phrases(CLOSE)


FORMAT = thought_format(SeedThought, OPEN, CLOSE, mark=CLOSE, signs=((OPEN, CLOSE),))
