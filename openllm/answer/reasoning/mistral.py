"""Mistral's thoughts (Magistral): `[THINK]...[/THINK]`, before that `<think>...</think>`.

The models go over to their calls without a closing mark.
"""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format

OPEN, CLOSE = "[THINK]", "[/THINK]"
CALLS = "[TOOL_CALLS]"


class MistralThought(ThoughtReader):
    markers = (OPEN, CLOSE, CALLS)
    opens, closes = Phrases(OPEN, "<think>"), Phrases(CLOSE, "</think>")
    ends = Phrases(CALLS)


FORMAT = thought_format(MistralThought, OPEN, CLOSE, mark=CLOSE, signs=((OPEN,),))
