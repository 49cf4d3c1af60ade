"""LiteLLM over each of the protocols that it speaks, against the demo."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks a server of its own
litellm = pytest.importorskip("litellm", reason="needs `make test-clients`")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
LONG: Any = [{"role": "user", "content": "word " * 3000}]
SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
CITIES = ('{"city": "Rome"}', '{"city": "Oslo"}')
# The name that chooses the protocol, and what stands behind the server's address.
WAYS = {
    "openai/demo": "/v1",
    "hosted_vllm/demo": "/v1",
    "anthropic/demo": "",
    "ollama_chat/demo": "",
}


def asked(demo: str, model: str = "openai/demo", **more: Any) -> dict[str, Any]:
    where = {"model": model, "api_base": demo + WAYS.get(model, "/v1"), "api_key": "none"}
    return {**where, "messages": ASK, "max_tokens": 200, "temperature": 0, "max_retries": 0, **more}


@pytest.mark.parametrize("model", WAYS)
def test_a_stream_is_the_whole_answer(demo: str, model: str) -> None:
    whole = litellm.completion(**asked(demo, model, max_tokens=12))
    chunks = list(
        litellm.completion(
            **asked(demo, model, max_tokens=12, stream=True, stream_options={"include_usage": True})
        )
    )
    streamed = litellm.stream_chunk_builder(chunks)
    assert whole.choices[0].message.content == streamed.choices[0].message.content
    assert whole.choices[0].finish_reason == streamed.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == streamed.usage.completion_tokens == 12


@pytest.mark.parametrize("model", ["openai/demo", "hosted_vllm/demo", "anthropic/demo"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_required_tool_is_called(demo: str, model: str, stream: bool) -> None:
    answer = litellm.completion(
        **asked(demo, model, tools=[TOOL], tool_choice="required", stream=stream)
    )
    if stream:
        answer = litellm.stream_chunk_builder(list(answer))
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert (call.function.name, call.function.arguments in CITIES) == ("weather", True)
    result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "Sunny."}
    turns = [*ASK, choice.message, result]
    after = litellm.completion(**asked(demo, model, messages=turns, tools=[TOOL]))
    assert after.choices[0].message.content


def test_a_form_is_kept(demo: str) -> None:
    form = {"name": "city", "schema": SCHEMA, "strict": True}
    answer = litellm.completion(
        **asked(demo, response_format={"type": "json_schema", "json_schema": form})
    )
    assert answer.choices[0].message.content in CITIES


def test_text_vectors_and_responses(demo: str) -> None:
    where: Any = {"api_base": f"{demo}/v1", "api_key": "none"}
    text = litellm.text_completion(
        model="text-completion-openai/demo", prompt="A Bento", max_tokens=5, **where
    )
    assert text.usage.completion_tokens == 5
    vectors = litellm.embedding(model="openai/demo", input=["a", "b"], **where).data
    assert [len(vector["embedding"]) > 1 for vector in vectors] == [True, True]
    answer = litellm.responses(model="openai/demo", input="hi", max_output_tokens=16, **where)
    assert answer.output[0].content[0].text


def test_its_bridge_from_anthropics_messages(demo: str) -> None:
    """It asks for a response, and tells it as a message. Its stream needs LiteLLM's own server."""
    answer = asyncio.run(
        litellm.anthropic.messages.acreate(
            model="openai/demo",
            api_base=f"{demo}/v1",
            api_key="none",
            messages=ASK,
            max_tokens=200,
            tools=[{"name": "weather", "input_schema": SCHEMA}],
            tool_choice={"type": "any"},
        )
    )
    (call,) = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert (call["name"], call["input"]["city"] in ("Rome", "Oslo")) == ("weather", True)
    assert answer["stop_reason"] == "tool_use"


@pytest.mark.parametrize("model", ["openai/demo", "anthropic/demo"])
def test_errors_are_its_own(demo: str, model: str) -> None:
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**asked(demo, model, messages=LONG))
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**asked(demo, model, temperature=-1))


def test_a_model_that_is_not_here(demo: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="nobody"):
        litellm.completion(**asked(demo, "openai/nobody"))


def test_files_and_batches(demo: str) -> None:
    where: Any = {"custom_llm_provider": "openai", "api_base": f"{demo}/v1", "api_key": "none"}
    line = (
        b'{"custom_id": "a", "method": "POST", "url": "/v1/completions",'
        b' "body": {"model": "demo", "prompt": "A Bento", "max_tokens": 2}}\n'
    )
    file = litellm.create_file(file=("in.jsonl", line), purpose="batch", **where)
    batch = litellm.create_batch(
        completion_window="24h", endpoint="/v1/completions", input_file_id=file.id, **where
    )
    assert batch.status == "validating"
    assert litellm.retrieve_batch(batch_id=batch.id, **where).id == batch.id
