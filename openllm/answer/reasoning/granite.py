"""Granite's thoughts, between `<think>` and `</think>` or, in 3.2, after plain words."""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

OPEN, CLOSE = "<think>", "</think>"
RESPONSE, RESPONSE_END = "<response>", "</response>"


class GraniteThought(ThoughtReader):
    markers = (OPEN, CLOSE, RESPONSE, RESPONSE_END)
    opens = Phrases(OPEN, "Here is my thought process:", "Here's my thought process:")
    closes = Phrases(CLOSE, "Here is my response:", "Here's my response:")
    wraps = Phrases(RESPONSE, RESPONSE_END)


FORMAT = thought_format(
    GraniteThought,
    OPEN,
    CLOSE,
    mark=CLOSE,
    signs=(("Here is my thought process:",), (RESPONSE, CLOSE), ("<|start_of_role|>", CLOSE)),
)
