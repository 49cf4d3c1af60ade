"""Anthropic's client, validating every answer as it is specified, against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from tests.clients.servers import Writer

anthropic = pytest.importorskip("anthropic", reason="needs `make test-clients`")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
GREEDY = {"temperature": 0}  # which the client has no argument for any more
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Mood(pydantic.BaseModel):
    """What the demo is asked to fill in."""

    mood: Literal["good", "bad"]


def connected(url: str, **options: Any) -> Any:
    return anthropic.Anthropic(
        base_url=url,
        api_key="none",
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
        **options,
    )


@pytest.fixture(scope="module")
def client(demo: str) -> Iterator[Any]:
    with connected(demo) as found:
        yield found


@pytest.fixture(scope="module")
def scripted(writer: Writer) -> Iterator[Any]:
    with connected(writer.url) as found:
        yield found


def test_a_message(client: Any) -> None:
    answer = client.messages.create(
        model="demo",
        max_tokens=12,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=ASK,
        extra_body={"top_k": 40},
        metadata={"user_id": "somebody"},
    )
    assert answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert 0 < answer.usage.output_tokens <= 12
    assert answer._request_id


def test_a_stream_is_the_whole_message(client: Any) -> None:
    asked: Any = {"model": "demo", "max_tokens": 12, "messages": ASK, "extra_body": GREEDY}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert streamed.content[0].text == whole.content[0].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.stop_reason == whole.stop_reason


def test_what_counts_the_tokens_counts_those_of_the_message(client: Any) -> None:
    asked: Any = {"model": "demo", "messages": ASK, "tools": [WEATHER], "system": "Be brief."}
    counted = client.messages.count_tokens(**asked).input_tokens
    usage = client.messages.create(**asked, max_tokens=1).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_a_stop_sequence_is_named(client: Any) -> None:
    asked: Any = {"model": "demo", "max_tokens": 40, "messages": ASK, "extra_body": GREEDY}
    word = client.messages.create(**asked).content[0].text.split()[2]
    answer = client.messages.create(**asked, stop_sequences=[word])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", word)
    assert word not in answer.content[0].text


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_tool_is_called_and_its_result_taken(client: Any, choice: Any) -> None:
    asked: Any = {"model": "demo", "max_tokens": 100, "tools": [WEATHER], "extra_body": GREEDY}
    answer = client.messages.create(**asked, messages=ASK, tool_choice=choice)
    assert answer.stop_reason == "tool_use"
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "weather"
    assert call.input["city"] in ("Rome", "Oslo")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
    said = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(**asked, messages=[*ASK, *said], tool_choice={"type": "none"})
    assert after.stop_reason != "tool_use"


def test_ten_turns_of_a_loop_with_tools(client: Any) -> None:
    asked: Any = {"model": "demo", "max_tokens": 100, "tools": [WEATHER], "extra_body": GREEDY}
    turns = list(ASK)
    for turn in range(10):
        answer = client.messages.create(**asked, messages=turns, tool_choice={"type": "any"})
        (call,) = [block for block in answer.content if block.type == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call.id, "is_error": turn % 2 == 1}
        content = [{"type": "text", "text": f"Sunny, {turn} degrees."}]
        turns.append({"role": "assistant", "content": answer.content})
        turns.append({"role": "user", "content": [{**result, "content": content}]})
    with client.messages.stream(**asked, messages=turns, tool_choice={"type": "none"}) as stream:
        last = stream.get_final_message()
    assert last.content[-1].type == "text"


def test_a_form_is_kept(client: Any) -> None:
    answer = client.messages.parse(
        model="demo", max_tokens=60, messages=ASK, output_format=Mood, extra_body=GREEDY
    )
    assert answer.parsed_output.mood in ("good", "bad")


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    model = client.models.retrieve("demo")
    assert model.display_name == "demo"
    capabilities = type(model.capabilities).model_validate(model.capabilities.model_dump())
    assert not capabilities.image_input.supported
    assert not capabilities.thinking.supported
    assert capabilities.thinking.types.disabled.supported
    assert capabilities.structured_outputs.supported
    assert not capabilities.effort.supported


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nobody", max_tokens=1, messages=ASK)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(
            model="demo", max_tokens=1, messages=ASK, extra_body={"temperature": -1}
        )
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert refused.value.request_id
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    with pytest.raises(
        anthropic.BadRequestError, match=r"content\[0\]\.source\.url: the model demo ca"
    ):
        client.messages.create(
            model="demo", max_tokens=1, messages=[{"role": "user", "content": [image]}]
        )


def test_a_thought_and_calls(scripted: Any, writer: Writer) -> None:
    writer.write(f"<think>Two of them.</think>I look.\n{ROME}\n{ROME}")
    asked: Any = {
        "model": "scripted",
        "max_tokens": 2000,
        "messages": ASK,
        "tools": [WEATHER],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    whole = scripted.messages.create(**asked)
    with scripted.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    for answer in (whole, streamed):
        kinds = [block.type for block in answer.content]
        assert kinds == ["thinking", "text", "tool_use", "tool_use"]
        assert answer.content[0].thinking == "Two of them."
        assert answer.content[1].text.strip() == "I look."
        assert [block.input for block in answer.content[2:]] == [{"city": "Rome"}] * 2
        assert answer.stop_reason == "tool_use"
        assert answer.usage.output_tokens_details.thinking_tokens > 0


def test_the_loop_of_its_tool_runner(scripted: Any, writer: Writer) -> None:
    asked: list[str] = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        asked.append(city)
        writer.write("It is sunny in Rome.")
        return "sunny"

    writer.write(ROME)
    runner = scripted.beta.messages.tool_runner(
        model="scripted", max_tokens=1000, messages=ASK, tools=[weather]
    )
    last = runner.until_done()
    assert asked == ["Rome"]
    assert last.content[0].text == "It is sunny in Rome."
