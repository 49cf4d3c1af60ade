"""Mistral's format up to its tokenizer 10: `[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}}]`.

The parser also takes what the later tokenizers write (see `mistral_v11`): models are served with
the wrong templates.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from openllm.answer.calls import NoCall
from openllm.answer.formats import Call, Tool, ToolFormat
from openllm.answer.grammar import Rules, literal, sequence
from openllm.answer.json_call import JsonReader, array_grammar, array_of
from openllm.answer.reader import Phrases, Wait

OPEN, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
_OPEN, _CALL_ID, _ARGS = Phrases(OPEN), Phrases(CALL_ID), Phrases(ARGS)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SIZE = 9  # characters of an id; its templates refuse others


class MistralParser(JsonReader):
    markers = (OPEN, CALL_ID, ARGS)

    def read(self) -> Wait[None]:
        while (yield from self.text_until(_OPEN)):
            yield from self.attempt(self._calls(), OPEN)

    def begin(self, name: str, id: str | None = None) -> None:
        super().begin(name, id or "".join(random.choices(_LETTERS, k=_SIZE)))

    def _calls(self) -> Wait[None]:
        first = yield from self.skip()
        if first and first in "[{":
            yield from self.json_calls()
            return
        name, call_id = (yield from self.name()), None
        if (yield from self.word(_CALL_ID)):
            call_id = yield from self.name()
        if not (yield from self.word(_ARGS)) and (yield from self.skip()) != "{":
            raise NoCall
        self.begin(name, call_id)
        yield from self.arguments()
        self.finish()


def history_id(call: Call, index: int) -> str:
    """Nine letters and digits, as the templates ask for; the same for the same id."""
    if re.fullmatch(r"[A-Za-z0-9]{9}", call.id):
        return call.id
    digest = hashlib.sha256((call.id or str(index)).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:_SIZE])


def write(calls: Sequence[Call]) -> str:
    return OPEN + array_of(calls)


def grammar(rules: Rules, tools: Sequence[Tool], several: bool) -> str:
    return sequence(literal(OPEN), array_grammar(rules, tools, several))


FORMAT = ToolFormat(
    parser=MistralParser, write=write, grammar=grammar, signs=((OPEN,),), history_id=history_id
)
