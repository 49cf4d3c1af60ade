"""What it costs to read an answer for thoughts and calls, in CPU time for each token, and to make
the grammar of many tools.

    python -m benchmarks.parsing [FORMAT ...]

The tokens are those of a model's stream: one per delta, of about four letters. `beside text` is
what a format adds to an answer that is read for text alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.formats import Call, parsers_of, tool_format
from openllm.backends.pytorch.backend import BACKEND
from openllm.config.spec import LLMSpec
from openllm.discovery import variants
from openllm.llm.formats import kept_to
from openllm.types import (
    Conversation,
    GenerationRequest,
    Message,
    Reading,
    SamplingParams,
    TokenDelta,
    ToolUse,
)

ENGINE = BACKEND(LLMSpec(model_id="none"), Path())  # never started
ROUNDS = 25
TOOLS = 20
WORDS = "The weather in Rome is warm today, and the rain of the week before is over. "
PROSE = WORDS * 40


def declared(count: int, salt: str = "") -> tuple[dict[str, Any], ...]:
    """Tools such as agents have: texts, numbers, words to choose from, lists and objects."""
    properties = {
        "path": {"type": "string", "description": "Where it is."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        "mode": {"enum": ["read", "write", "append"]},
        "lines": {"type": "array", "items": {"type": "integer"}},
        "where": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "exact": {"type": "boolean"}},
            "required": ["city"],
        },
    }
    return tuple(
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}{salt}",
                "parameters": {
                    "type": "object",
                    "properties": {f"own_{number}": {"type": "string"}, **properties},
                    "required": [f"own_{number}", "path"],
                    "additionalProperties": False,
                },
            },
        }
        for number in range(count)
    )


def tokenizer_of(texts: Sequence[str]) -> Any:
    """A byte-level tokenizer that has learned the texts, as models' tokenizers have learned
    theirs.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    found.train_from_iterator(texts, trainer)
    return found


Make = Callable[[], ChoiceAssembler]


def microseconds(deltas: Sequence[TokenDelta], *makes: Make) -> list[float]:
    """CPU time for each delta in each kind of reader, the least of several rounds. They take turns,
    so that a machine that slows down does so for all.
    """
    least = [float("inf")] * len(makes)
    for _ in range(ROUNDS):
        for at, make in enumerate(makes):
            assembler = make()
            started = time.process_time()
            for delta in deltas:
                assembler.feed(delta)
            least[at] = min(least[at], time.process_time() - started)
    return [1e6 * seconds / len(deltas) for seconds in least]


def streams(formats: Sequence[str]) -> None:
    tools = declared(TOOLS)
    arguments = json.dumps({"own_3": PROSE[:1000], "path": "/srv/a/b", "lines": [*range(200)]})
    calls = {
        name: tool_format(name).write([Call("tool_3", arguments, "abcdefghi")] * 3)
        for name in formats
    }
    tokenizer = tokenizer_of([PROSE, *calls.values()])

    def deltas(text: str) -> list[TokenDelta]:
        return [TokenDelta([token]) for token in tokenizer.encode(text).ids]

    def reader(reading: Reading) -> Make:
        def make() -> ChoiceAssembler:
            reasoning, tools = parsers_of(reading, "")
            params = SamplingParams()
            return ChoiceAssembler(tokenizer, params, [], reasoning=reasoning, tools=tools)

        return make

    text, thinks = reader(Reading()), reader(Reading("think"))
    plain, thought = microseconds(deltas(f"<think>{PROSE}"), text, thinks)
    print(f"text alone: {plain:.2f} us per token; within a thought: {thought - plain:+.2f}")
    print(f"{'format':<14}{'beside text':>12}{'in a call':>12}   us of CPU per token")
    for name in formats:
        calling = reader(Reading("think", name, tools))
        line = f"{name:<14}"
        for stream in (PROSE, calls[name]):
            plain, both = microseconds(deltas(stream), text, calling)
            line += f"{both - plain:>+12.2f}"
        print(line)


def grammars(formats: Sequence[str]) -> None:
    print(f"{'format':<14}{'first':>10}{'again':>10}   ms, the grammar of {TOOLS} tools")
    for name in formats:
        asked = Conversation(
            (Message("user", "hi"),),
            declared(TOOLS, f"_{name}"),
            tool_use=ToolUse(required=True),
        )
        request = GenerationRequest(asked, SamplingParams())
        first, again = (asyncio.run(grammar_seconds(request, name)) for _ in range(2))
        print(f"{name:<14}{1e3 * first:>10.2f}{1e3 * again:>10.2f}")


async def grammar_seconds(request: GenerationRequest, name: str) -> float:
    tools = request.prompt.tools if isinstance(request.prompt, Conversation) else ()
    started = time.perf_counter()
    await kept_to(request, Reading(None, name, tools), ENGINE, "")
    return time.perf_counter() - started


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(variants("openllm.tools"))
    streams(wanted)
    grammars(wanted)
