"""OpenAI's client, validating every answer as it is specified, against the demo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from tests.clients.servers import Writer

openai = pytest.importorskip("openai", reason="needs `make test-clients`")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Mood(pydantic.BaseModel):
    """What the demo is asked to fill in."""

    mood: Literal["good", "bad"]


def connected(url: str, *, strict: bool) -> Any:
    return openai.OpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        timeout=60,
        _strict_response_validation=strict,
    )


@pytest.fixture(scope="module")
def client(demo: str) -> Iterator[Any]:
    with connected(demo, strict=True) as found:
        yield found


def test_a_chat(client: Any) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=ASK, max_completion_tokens=12, logprobs=True, top_logprobs=2, n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        assert choice.message.role == "assistant"
        assert choice.message.content
        assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_is_the_whole_one(client: Any) -> None:
    asked: Any = {"model": "demo", "messages": ASK, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_parse_gives_what_the_schema_says(client: Any) -> None:
    answer = client.chat.completions.parse(
        model="demo", messages=ASK, response_format=Mood, max_tokens=60, temperature=0
    )
    assert answer.choices[0].message.parsed.mood in ("good", "bad")


def test_a_required_tool_is_called(client: Any) -> None:
    asked: Any = {
        "model": "demo",
        "messages": ASK,
        "tools": [WEATHER],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 100,
        "temperature": 0,
    }
    (choice,) = client.chat.completions.create(**asked).choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    with client.chat.completions.stream(**asked) as stream:
        (streamed,) = stream.get_final_completion().choices
    assert streamed.message.tool_calls[0].function.arguments == call.function.arguments


def test_a_completion(client: Any, demo: str) -> None:
    asked: Any = {"model": "demo", "prompt": "A Bento is", "max_tokens": 8, "temperature": 0}
    answer = client.completions.create(**asked, logprobs=1)
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens
    # The client has a chunk's finish_reason as never null, which OpenAI's own server says too
    with connected(demo, strict=False) as lenient:
        chunks = list(lenient.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text


def test_decisions(client: Any) -> None:
    moods = ["good", "bad", True, "true", *(f"mood {at}" for at in range(30))]
    found = client.decisions.create(
        model="demo",
        input=ASK,
        questions=[
            {"type": "predicate", "instructions": "It is a question.", "name": "asks"},
            {
                "type": "choice",
                "instructions": [{"type": "input_text", "text": "Which mood?"}],
                "choices": [{"value": mood, "description": "a mood"} for mood in moods],
            },
            {
                "type": "score",
                "instructions": "How polite is it?",
                "levels": [{"label": "rude"}, {"label": "polite"}],
            },
        ],
    )
    predicate, choice, score = found.answers
    assert (predicate.type, predicate.name) == ("predicate", "asks")
    assert 0 <= predicate.probability <= 1
    best = max(choice.probabilities, key=lambda entry: entry.probability)
    assert (choice.choice, choice.confidence) == (best.value, best.probability)
    assert [entry.value for entry in choice.probabilities] == moods
    assert sum(entry.probability for entry in choice.probabilities) == pytest.approx(1)
    assert score.score == pytest.approx(score.probabilities[1].probability)
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="demo", messages=ASK, temperature=-1)
    assert refused.value.param == "temperature"


def test_a_thought_then_a_call_of_one_of_the_tools(writer: Writer) -> None:
    arguments = '{"city": "Rome"}'
    call = f'<tool_call>\n{{"name": "weather", "arguments": {arguments}}}\n</tool_call>'
    writer.write(f"<think>Rome, then.</think>{call}")
    asked: Any = {"model": "scripted", "messages": ASK, "tools": [WEATHER]}
    with connected(writer.url, strict=True) as client:
        message = client.chat.completions.create(**asked).choices[0].message
    assert message.reasoning_content == "Rome, then."
    assert message.tool_calls[0].function.arguments == arguments
