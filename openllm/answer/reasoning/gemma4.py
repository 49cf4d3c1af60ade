"""Gemma 4's thoughts: the channel `thought`, `<|channel>thought...<channel|>`."""

from __future__ import annotations

from openllm.answer.reader import Words
from openllm.answer.thought import ThoughtReader, thought_format

CHANNEL, CLOSE, CALL = "<|channel>", "<channel|>", "<|tool_call>"
OPEN = f"{CHANNEL}thought"


class Gemma4Parser(ThoughtReader):
    markers = (CHANNEL, CLOSE, CALL)
    opens, closes = Words(OPEN), Words(CLOSE)
    ends = Words(CALL)


FORMAT = thought_format(
    Gemma4Parser, f"{OPEN}\n", f"\n{CLOSE}", mark=CLOSE, signs=((CHANNEL, CLOSE),)
)
