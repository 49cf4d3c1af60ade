"""gpt-oss's format, harmony: a call is a message to `functions.f` in the channel `commentary`."""

from __future__ import annotations

from collections.abc import Sequence

from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, either, literal, sequence
from openllm.answer.harmony import CALL, CHANNEL, CONSTRAIN, MESSAGE, START, HarmonyReader

TO, JSON = f"{CHANNEL}commentary to=functions.", f" {CONSTRAIN}json{MESSAGE}"


def write(calls: Sequence[Call]) -> str:
    each = (f"{TO}{call.name}{JSON}{call.arguments}" for call in calls)
    return f"{CALL}{START}assistant".join(each)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    """One call: its end is the answer's."""
    calls = (sequence(literal(f"{tool.name}{JSON}"), rules.json(tool.schema)) for tool in tools)
    return sequence(literal(TO), either(calls))


FORMAT = ToolFormat(
    parser=HarmonyReader,
    write=write,
    grammar=grammar,
    finds_thoughts=True,
    signs=((CHANNEL, MESSAGE, "functions"), (CHANNEL, MESSAGE)),
)
