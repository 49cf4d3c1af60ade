"""What a request's items become: turns for the template, or a refusal that names the field."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.protocols.openai.responses.conftest import Told

CALL: Any = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"a": 1}'}
CALLED = '<tool_call>weather {"a": 1}</tool_call>'
INPUT: Any = {"type": "input_text", "text": "a"}
IMAGE: Any = {"type": "input_image", "image_url": "x"}
RESULT: Any = {"type": "function_call_output", "call_id": "c1", "output": "22"}
THOUGHT: Any = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "short"}],
    "content": [{"type": "reasoning_text", "text": "hm"}],
    "encrypted_content": "x",
}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": content, "id": "m", "phase": None}


@pytest.mark.parametrize(
    ("items", "prompt"),
    [
        ("hi", "<|user|>hi"),
        ([user("hi")], "<|user|>hi"),
        ([user([INPUT, {**INPUT, "text": "b"}])], "<|user|>a\nb"),
        ([{"role": "developer", "content": "d"}, user("hi")], "<|system|>d<|user|>hi"),
        ([assistant([{"type": "output_text", "text": "t", "annotations": []}])], "<|assistant|>t"),
        ([assistant([{"type": "refusal", "refusal": "no"}])], "<|assistant|>no"),
        (
            [user("q"), THOUGHT, assistant("I look."), CALL, RESULT],
            f"<|user|>q<|assistant|>I look.<think>hm</think>{CALLED}<|tool|>22<|assistant|>",
        ),
        (
            [CALL, {**CALL, "call_id": "c2"}, RESULT, {**RESULT, "call_id": "c2"}],
            f"<|assistant|>{CALLED}{CALLED}<|tool|>22<|tool|>22<|assistant|>",
        ),
        ([assistant("a"), assistant("b")], "<|assistant|>a<|assistant|>b"),
        ([THOUGHT], "<|assistant|><think>hm</think>"),
        ([{**RESULT, "output": [{"type": "input_text", "text": "22"}]}], "<|tool|>22"),
        ([{**RESULT, "output": {"degrees": 22}}], '<|tool|>{"degrees":22}'),
        ([{**CALL, "arguments": "{broken"}, RESULT], "weather TEXT {broken</tool_call>"),
        (
            [
                {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
            ],
            'patch {"input": "x"}</tool_call><|tool|>done',
        ),
    ],
)
def test_items_become_turns(told: Told, items: Any, prompt: str) -> None:
    told.create(input=items)
    assert prompt in told.prompt()


def test_instructions_and_the_first_system_messages_are_one(told: Told) -> None:
    items = [{"role": "developer", "content": "b"}, user("q"), {"role": "system", "content": "c"}]
    told.create(input=items, instructions="a")
    assert told.prompt().startswith("<|system|>a\n\nb<|user|>q<|system|>c")


def test_items_of_other_vendors_tools_are_left_out_and_named(told: Told) -> None:
    items = [user("hi"), {"type": "web_search_call", "id": "ws_1", "status": "completed"}]
    tools = [
        {"type": "web_search"},
        {"type": "custom", "name": "patch"},
        {"type": "function", "name": "weather", "parameters": None, "strict": None},
    ]
    told.writes("Hi.")
    answer = told.post(input=items, tools=tools, include=["reasoning.encrypted_content"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-openllm-ignored"].split(", ") == [
        "include.reasoning.encrypted_content",
        "input[].web_search_call",
        "tools[].web_search",
        "tools[].custom",
    ]
    assert [tool["type"] for tool in answer.json()["tools"]] == ["function"]


def test_a_turn_as_codex_sends_it(told: Told) -> None:
    """Its instructions in two messages, its thought and its call sent back, nothing to be kept."""
    function: Any = {"type": "function", "parameters": {"type": "object"}, "strict": False}
    body: dict[str, Any] = {
        "model": "scripted",
        "input": [
            {"role": "developer", "type": "message", "id": "m1", "content": [INPUT]},
            {"role": "developer", "type": "message", "id": "m2", "content": [INPUT]},
            {"role": "user", "type": "message", "id": "m3", "content": [INPUT]},
            {**THOUGHT, "encrypted_content": None},
            {**CALL, "id": "fc_1", "status": "completed"},
            {**RESULT, "id": "fco_1"},
        ],
        "tools": [
            {**function, "name": "weather", "output_schema": None},
            {"type": "namespace", "name": "more", "tools": [{**function, "name": "other"}]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "client_metadata": {"turn": "1"},
    }
    told.writes("Done.")
    answer = told.post(**body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-openllm-ignored"].split(", ") == [
        "include.reasoning.encrypted_content",
        "tools[].namespace",
        "tools[].web_search",
        "reasoning.summary",
    ]
    assert f"a\n\na<|user|>a<|assistant|><think>hm</think>{CALLED}<|tool|>22" in told.prompt()
    assert "event: response.completed" in answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"tools": [{"type": "function", "name": "a"}, {"type": "custom"}]}, "tools[1].type"),
        ({"input": [{"type": "web_search_call", "id": "ws"}]}, "input[0].type"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
    ],
)
def test_the_operator_can_have_it_strict(
    strict_client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = strict_client.post("/v1/responses", json={"input": "hello", **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert strict_client.post("/v1/responses", json={"input": "hello"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 7}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": [{"type": "magic"}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        (
            {"input": [user([IMAGE])]},
            "input[0].content[0].image_url",
        ),
        ({"input": [user(7)]}, "input[0].content"),
        ({"input": [{"type": "reasoning", "content": [{}]}]}, "input[0].content[0].text"),
        ({"input": [{}]}, "input[0].id"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"background": True, "stream": True}, "background"),
        ({"background": True, "store": False}, "background"),
        ({"truncation": "middle"}, "truncation"),
        ({"conversation": 7}, "conversation"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(told: Told, body: dict[str, Any], param: str) -> None:
    answer = told.post(**body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


ODD: tuple[Any, ...] = (
    None, 0, -1, 1.5, 1e400, True, "", "x", "\0", [], [None], [[]], [1], ["x"], {}, {"type": "x"},
    {"type": "message"}, [{"type": "function"}], [{"type": "message", "role": "user"}],
    [{"role": "assistant", "content": [{}]}], [{"type": "reasoning", "content": [None]}],
    [{"type": "function_call"}], [{"type": "function_call_output", "output": [{}, 1, None]}],
    {"format": {}}, {"format": {"type": "json_schema", "schema": 1}}, {"effort": [1]}, {"id": ""},
)  # fmt: skip
FIELDS = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
    "text", "include", "metadata", "max_output_tokens", "temperature", "top_p", "top_logprobs",
    "truncation", "previous_response_id", "conversation", "store", "stream", "stream_options",
    "background", "user", "prompt_cache_key", "service_tier", "request_id", "thinking_budget",
)  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_any_value_of_any_field_is_answered(client: httpx.Client, name: str) -> None:
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        for value in ODD:
            if value == 1e400:
                text = json.dumps({"input": "hello", name: "?"}).replace('"?"', "1e400")
            else:
                text = json.dumps({"input": "hello", name: value})
            answer = client.post(path, content=text)
            assert answer.status_code in (200, 400, 404), (name, value, answer.text)
            assert "inside the server" not in answer.text


@pytest.mark.parametrize("name", ["items", "metadata"])
def test_any_value_of_a_conversation_is_answered(client: httpx.Client, name: str) -> None:
    for value in ODD:
        if value == 1e400:
            continue
        answer = client.post("/v1/conversations", json={name: value})
        assert answer.status_code in (200, 400, 404), (name, value, answer.text)
