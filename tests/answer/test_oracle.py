"""Well-formed answers are read as vLLM's own parsers read them, where it has one that can be had
here (some need packages that vLLM does not bring).
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from openllm.answer.formats import Call, tool_format
from openllm.types import ToolCall
from tests.answer.cutting import parts_of, reasoning, tools
from tests.answer.test_marks import tokenizer

pytestmark = pytest.mark.vllm

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "line": {"type": "integer"},
        "ok": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object"},
    },
}
TOOLS = [
    {"type": "function", "function": {"name": "edit", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}},
]
SIMPLE = [Call("edit", '{"path": "a \\"b\\" {é}\\nc"}'), Call("now")]
TYPED = [*SIMPLE, Call("edit", '{"path": "5", "line": 5, "ok": true}')]
NESTED = [*TYPED, Call("edit", '{"tags": ["a", "]b"], "where": {"n": [1, {"m": null}]}}')]
# Our name, vLLM's, and calls that both can tell. Not compared: lists in Phi-4's (vLLM ends them at
# the first bracket), numbers within a value of Gemma 4's (vLLM makes texts of them), and values of
# FunctionGemma's that are no texts (vLLM leaves them out).
PAIRS = [
    ("hermes", "hermes", NESTED),
    ("qwen3_coder", "qwen3_coder", NESTED),
    ("llama3_json", "llama3_json", NESTED),
    ("pythonic", "pythonic", NESTED),
    ("pythonic", "llama4_pythonic", NESTED),
    ("mistral", "mistral", NESTED),
    ("mistral_v11", "mistral", NESTED),
    ("deepseek_v3", "deepseek_v3", NESTED),
    ("deepseek_v31", "deepseek_v31", NESTED),
    ("glm45", "glm45", NESTED),
    ("kimi_k2", "kimi_k2", NESTED),
    ("granite", "granite", NESTED),
    ("hermes", "granite4", NESTED),
    ("minimax", "minimax_m2", NESTED),
    ("xlam", "xlam", NESTED),
    ("phi4", "phi4_mini_json", TYPED),
    ("gemma4", "gemma4", TYPED),
    ("gemma", "functiongemma", SIMPLE),
]


@cache
def wrapped(without: str = "") -> Any:
    """The tokenizer as vLLM wants it, without one of its special tokens."""
    from transformers import PreTrainedTokenizerFast

    described = json.loads(tokenizer().to_str())
    kept = [token for token in described["added_tokens"] if token["content"] != without]
    found = Tokenizer.from_str(json.dumps({**described, "added_tokens": kept}))
    found.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=found)


def request() -> Any:
    protocol = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol")
    messages = [{"role": "user", "content": "Hi."}]
    return protocol.ChatCompletionRequest(messages=messages, model="m", tools=TOOLS)


@pytest.mark.parametrize(("ours", "theirs", "calls"), PAIRS)
def test_calls_are_read_alike(ours: str, theirs: str, calls: list[Call]) -> None:
    asked = request()
    from vllm.tool_parsers import ToolParserManager

    try:
        kind = ToolParserManager.get_tool_parser(theirs)
    except ImportError as error:
        pytest.skip(f"vLLM's parser needs more: {error}")
    # by this token vLLM tells which of Mistral's two formats it is
    parser = kind(wrapped("[ARGS]" if ours == "mistral" else ""), asked.tools)
    text = tool_format(ours).write(calls)
    oracle = parser.extract_tool_calls(text, parser.adjust_request(asked))
    expected = [(call.function.name, call.function.arguments) for call in oracle.tool_calls]
    parts = parts_of(tools(ours, {"edit": SCHEMA, "now": {}}), text)
    found = [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]
    assert [(name, json.loads(arguments)) for name, arguments in found] == [
        (name, json.loads(arguments)) for name, arguments in expected
    ]
    assert len(found) == len(calls)


THOUGHTS = [
    ("think", "deepseek_r1", "<think>\nHm. é\n</think>\n\nYes."),
    ("think", "qwen3", "<think>Hm. é</think>Yes."),
    ("granite", "granite", "Here is my thought process: Hm. Here is my response: Yes."),
    ("kimi", "kimi_k2", "<think>Hm.</think>Yes."),
    ("mistral", "mistral", "[THINK]Hm.[/THINK]Yes."),
    ("seed_oss", "seed_oss", "<seed:think>Hm.</seed:think>Yes."),
    ("gemma4", "gemma4", "<|channel>thought\nHm.<channel|>Yes."),
]


@pytest.mark.parametrize(("ours", "theirs", "text"), THOUGHTS)
def test_thoughts_are_read_alike(ours: str, theirs: str, text: str) -> None:
    asked = request()
    from vllm.reasoning import ReasoningParserManager

    try:
        kind = ReasoningParserManager.get_reasoning_parser(theirs)
    except ImportError as error:
        pytest.skip(f"vLLM's parser needs more: {error}")
    thought, answer = kind(wrapped()).extract_reasoning(text, asked)
    parts = parts_of(reasoning(ours), text)
    found = [(type(part).__name__, part.text) for part in parts if not isinstance(part, ToolCall)]
    assert [(kind, words.strip()) for kind, words in found] == [
        ("Reasoning", (thought or "").strip()),
        ("Text", (answer or "").strip()),
    ]
