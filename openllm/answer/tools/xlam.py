"""xLAM's format: `[{"name": "f", "arguments": {"x": 1}}]`, bare, as a block of code or in the marks
of other formats.
"""

from __future__ import annotations

from openllm.answer.formats import ToolFormat
from openllm.answer.json_call import BareReader, array_grammar, array_of
from openllm.answer.reader import Phrases


class XlamParser(BareReader):
    markers = ("<tool_call>", "</tool_call>", "[TOOL_CALLS]")
    begins = Phrases("\n", "<tool_call>", "[TOOL_CALLS]")
    closings = Phrases("</tool_call>")


FORMAT = ToolFormat(
    parser=XlamParser,
    write=array_of,
    grammar=array_grammar,
    signs=(("tool_call_name", "arguments", "JSON array"),),
)
