"""gpt-oss's thoughts: messages in harmony's channel `analysis`.

The parser reads the calls, too.
"""

from __future__ import annotations

from openllm.answer.formats import ReasoningFormat
from openllm.answer.harmony import CHANNEL, END, MESSAGE, START, HarmonyReader, begun_header

OPEN = f"{CHANNEL}analysis{MESSAGE}"

FORMAT = ReasoningFormat(
    parser=HarmonyReader,
    opening=OPEN,
    closing=f"{END}{START}assistant",
    mark=END,
    begun=lambda prompt_end: "analysis" in begun_header(prompt_end),
    introduction=f"{CHANNEL}final{MESSAGE}",
    signs=((CHANNEL, MESSAGE),),
)
