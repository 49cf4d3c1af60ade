"""Gemma 4's thoughts: the channel `thought`, `<|channel>thought...<channel|>`."""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

CHANNEL, CLOSE, CALL = "<|channel>", "<channel|>", "<|tool_call>"
OPEN = f"{CHANNEL}thought"


class Gemma4Thought(ThoughtReader):
    markers = (CHANNEL, CLOSE, CALL)
    opens, closes = Phrases(OPEN), Phrases(CLOSE)
    ends = Phrases(CALL)


FORMAT = thought_format(
    Gemma4Thought, f"{OPEN}\n", f"\n{CLOSE}", mark=CLOSE, signs=((CHANNEL, CLOSE),)
)
