"""Gemma 4's format: `<|tool_call>call:f{x:1,y:<|"|>text<|"|>}<tool_call|>`."""

from __future__ import annotations

from openllm.answer.gemma import GemmaReader, Marks, gemma_format

MARKS = Marks(open="<|tool_call>", close="<tool_call|>", mark='<|"|>')


class Gemma4Parser(GemmaReader):
    marks = MARKS
    markers = (MARKS.open, MARKS.close, MARKS.mark)


FORMAT = gemma_format(Gemma4Parser, MARKS)
