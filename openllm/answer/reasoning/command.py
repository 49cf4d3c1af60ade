"""Cohere's thoughts (Command A and R7B): `<|START_THINKING|>...<|END_THINKING|>`, and marks around
the answer.
"""

from __future__ import annotations

from openllm.answer.reader import Phrases
from openllm.answer.thought import ThoughtReader, thought_format
from openllm.answer.tools.command import WRAPPERS

OPEN, CLOSE = "<|START_THINKING|>", "<|END_THINKING|>"


class CommandThought(ThoughtReader):
    markers = (OPEN, CLOSE, *WRAPPERS)
    opens, closes = Phrases(OPEN), Phrases(CLOSE)
    wraps = Phrases(*WRAPPERS)


FORMAT = thought_format(
    CommandThought,
    OPEN,
    CLOSE,
    mark=CLOSE,
    signs=((OPEN, CLOSE),),
    introduction="<|START_RESPONSE|>",
)
