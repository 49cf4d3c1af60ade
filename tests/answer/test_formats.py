"""In which formats a model's answers are read, as its chat template and its tokens show."""

from __future__ import annotations

import pytest

from openllm import models
from openllm.answer.formats import Call, reasoning_format, shown_by, tool_format
from openllm.answer.tools.deepseek_v31 import BETWEEN, OPEN, SECTION
from openllm.discovery import variants

# What stands in the chat templates of real models, in short; and the formats of their thoughts and
# of their calls.
MODELS: dict[str, tuple[str, str | None, str | None]] = {
    "Qwen2.5": ('<tool_call>\\n{\\"name\\": 0, \\"arguments\\": 1}\\n</tool_call>', None, "hermes"),
    "Qwen3": ("<tool_call> </tool_call> '<think>' '</think>'", "think", "hermes"),
    "Qwen3-Coder": (
        "<tool_call>\\n<function=a>\\n<parameter=b>\\n</tool_call>",
        None,
        "qwen3_coder",
    ),
    "Hermes 3": ("within <tool_call></tool_call> <|eot_id|>", None, "hermes"),
    "Llama 3.1": (
        '{"name": function name, "parameters": dictionary of argument name and its value}',
        None,
        "llama3_json",
    ),
    "Llama 4": ("[func_name1(param1=value1), func_name2(...)] <|eot|>", None, "pythonic"),
    "Mistral 7B": ('"[TOOL_CALLS] ["', None, "mistral"),
    "Mistral Small 3.2": ("[TOOL_CALLS] [CALL_ID] [ARGS]", None, "mistral_v11"),
    "Magistral": ("[THINK] [/THINK] [TOOL_CALLS] [ARGS]", "mistral", "mistral_v11"),
    "DeepSeek R1": (
        f"{SECTION}{OPEN}function{BETWEEN} '```json' </think>",
        "think",
        "deepseek_v3",
    ),
    "DeepSeek V3.1": (f"{SECTION}{BETWEEN} </think>", "think", "deepseek_v31"),
    "gpt-oss": (
        "<|start|>assistant<|channel|>analysis<|message|> to=functions.",
        "harmony",
        "harmony",
    ),
    "GLM 4.6": (
        "<tool_call><arg_key>a</arg_key><arg_value>b</arg_value></tool_call> <think>",
        "think",
        "glm45",
    ),
    "Kimi K2": ("<|im_system|>tool_declare<|im_middle|>", None, "kimi_k2"),
    "Kimi K2 Thinking": (
        "<|im_middle|> <think></think> <|tool_calls_section_begin|><|tool_call_begin|>",
        "kimi",
        "kimi_k2",
    ),
    "Granite 3.1": ("<|start_of_role|>assistant <|tool_call|>", None, "granite"),
    "Granite 3.3": (
        "<|start_of_role|> <|tool_call|> <think></think> <response></response>",
        "granite",
        "granite",
    ),
    "Granite 4": ("<|start_of_role|> <tool_call></tool_call>", None, "hermes"),
    "Phi-4-mini": ("<|tool|> <|/tool|>", None, "phi4"),
    "Phi-4-mini of vLLM": ('functools[{"name": [function name]}]', None, "phi4"),
    "Command R7B": (
        "<|START_THINKING|><|END_THINKING|><|START_ACTION|><|END_ACTION|>",
        "command",
        "command",
    ),
    "MiniMax M2": ("'<minimax:tool_call>' '<think>'", "think", "minimax"),
    "Nemotron Nano 2": ('<TOOLCALL>[{"name": 0}]</TOOLCALL> <think>', "think", "nemotron"),
    "xLAM 2": (
        'a single JSON array: [{"name": "tool_call_name", "arguments": {}}] <|eot_id|>',
        None,
        "xlam",
    ),
    "FunctionGemma": ("<start_function_call>call:", None, "gemma"),
    "Gemma 4": ("<|tool_call>call: <|channel>thought\\n<channel|>", "gemma4", "gemma4"),
    "Seed-OSS": ("<seed:think></seed:think>", "seed_oss", None),
    "somebody's own": ("{{ tools }}", None, None),
}


@pytest.mark.parametrize("model", MODELS)
def test_the_template_shows_the_formats(model: str) -> None:
    template, *expected = MODELS[model]
    assert [shown_by("reasoning", template), shown_by("tools", template)] == expected


def test_each_format_but_the_plain_one_has_a_sign() -> None:
    silent = [name for name in variants("openllm.tools") if not tool_format(name).signs]
    assert silent == ["json"]
    assert all(reasoning_format(name).signs for name in variants("openllm.reasoning"))


def test_tokens_say_what_the_template_does_not() -> None:
    assert shown_by("tools", "{{ tools }}", ["<|tool_call_begin|>", "<|im_end|>"]) == "kimi_k2"
    # tokens that the template does not use say less than the template
    llama = ["<|python_tag|>", "<|eot_id|>", "<|begin_of_text|>"]
    assert shown_by("tools", MODELS["Nemotron Nano 2"][0], llama) == "nemotron"
    assert shown_by("tools", "{{ tools }}", llama) == "llama3_json"


@pytest.mark.parametrize("family", models.registry.all_families())
def test_families_name_formats_that_there_are(family: type[models.LLMConfig]) -> None:
    assert family.tool_format in (None, *variants("openllm.tools"))
    assert family.reasoning_format in (None, *variants("openllm.reasoning"))


@pytest.mark.parametrize("name", ["qwen3_coder", "glm45", "minimax", "gemma4", "pythonic"])
@pytest.mark.parametrize("arguments", ["[1]", "{x"])
def test_arguments_that_are_no_object_cannot_be_written_one_by_one(
    name: str, arguments: str
) -> None:
    with pytest.raises(ValueError, match=r"no object|property name"):
        tool_format(name).write([Call("f", arguments)])
