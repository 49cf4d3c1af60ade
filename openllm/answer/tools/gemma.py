"""FunctionGemma's format: `<start_function_call>call:f{x:1,y:<escape>text<escape>}
<end_function_call>`.
"""

from __future__ import annotations

from openllm.answer.gemma import GemmaReader, Marks, gemma_format

MARKS = Marks(open="<start_function_call>", close="<end_function_call>", mark="<escape>")


class GemmaParser(GemmaReader):
    marks = MARKS
    markers = (MARKS.open, MARKS.close, MARKS.mark)


FORMAT = gemma_format(GemmaParser, MARKS)
