"""Kimi's thoughts: `<think>...</think>` (K2), `◁think▷...◁/think▷` (k1.5 and VL).

K2 goes over to its calls without a closing mark.
"""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

OPEN, CLOSE = "<think>", "</think>"
OLD_OPEN, OLD_CLOSE = "◁think▷", "◁/think▷"
CALLS = "<|tool_calls_section_begin|>"


class KimiThought(ThoughtReader):
    markers = (OPEN, CLOSE, OLD_OPEN, OLD_CLOSE, CALLS)
    opens, closes = Phrases(OPEN, OLD_OPEN), Phrases(CLOSE, OLD_CLOSE)
    ends = Phrases(CALLS)


FORMAT = thought_format(
    KimiThought,
    OPEN,
    CLOSE,
    mark=CLOSE,
    signs=((OLD_OPEN,), (CALLS, CLOSE), ("<|im_middle|>", CLOSE)),
)
