"""`<think>...</think>` before the answer (DeepSeek R1, Qwen 3 and many others)."""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

OPEN, CLOSE = "<think>", "</think>"


class TaggedThought(ThoughtReader):
    markers = (OPEN, CLOSE)
    opens, closes = Phrases(OPEN), Phrases(CLOSE)


FORMAT = thought_format(
    TaggedThought, f"{OPEN}\n", f"\n{CLOSE}\n\n", mark=CLOSE, signs=((OPEN,), (CLOSE,))
)
