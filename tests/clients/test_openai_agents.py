"""OpenAI's agents: a tool is run over responses and over chat; and on their own model class, which
speaks responses, streams, forms, handoffs, and conversations that the server keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

from tests.clients.servers import Writer

openai = pytest.importorskip("openai", reason="needs `make test-clients`")
agents = pytest.importorskip("agents", reason="needs `make test-clients`")

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
HANDOFF = '<tool_call>\n{"name": "transfer_to_cook", "arguments": {}}\n</tool_call>'


class Mood(pydantic.BaseModel):
    """What an agent is asked to fill in."""

    mood: Literal["good", "bad"]


def model(url: str, name: str) -> Any:
    """The agents' model, checking that every answer is as it is specified."""
    client = openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
    )
    return agents.OpenAIResponsesModel(model=name, openai_client=client)


@pytest.fixture(autouse=True)
def without_tracing() -> Iterator[None]:
    agents.set_tracing_disabled(True)
    yield
    agents.set_tracing_disabled(False)


def weather_tool(writer: Writer | None = None) -> Any:
    """A tool; after it is called the model writes what it was told."""

    @agents.function_tool
    def weather(city: Literal["Rome", "Oslo"]) -> str:
        """The weather of a city."""
        if writer is not None:
            writer.write(f"It is 22 degrees in {city}.")
        return f"22 degrees in {city}"

    return weather


def agent(writer: Writer, **options: Any) -> Any:
    return agents.Agent(name="guide", model=model(writer.url, "scripted"), **options)


@pytest.mark.parametrize("model", ["OpenAIResponsesModel", "OpenAIChatCompletionsModel"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_run(writer: Writer, model: str, streamed: bool) -> None:
    asked: list[str] = []

    @agents.function_tool(strict_mode=False)
    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        writer.write("It is sunny in Rome.")
        return "sunny"

    async with openai.AsyncOpenAI(base_url=f"{writer.url}/v1", api_key="none") as client:
        agent: Any = agents.Agent(
            name="Forecaster",
            instructions="Tell the weather.",
            model=getattr(agents, model)(model="scripted", openai_client=client),
            tools=[weather],
        )
        writer.write(CALL)
        if streamed:
            result = agents.Runner.run_streamed(agent, "How is the weather in Rome?")
            async for _ in result.stream_events():
                pass
        else:
            result = await agents.Runner.run(agent, "How is the weather in Rome?")
    assert asked == ["Rome"]
    assert result.final_output == "It is sunny in Rome."


async def test_a_run_with_a_tool(writer: Writer) -> None:
    writer.write(f"<think>A tool.</think>I look.\n{CALL}")
    guide = agent(writer, instructions="Be kind.", tools=[weather_tool(writer)])
    result = await agents.Runner.run(guide, "How is Rome?")
    assert result.final_output == "It is 22 degrees in Rome."
    kinds = [item.type for item in result.new_items]
    assert kinds == [
        "reasoning_item",
        "message_output_item",
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert result.context_wrapper.usage.requests == 2
    assert result.context_wrapper.usage.output_tokens > 0


async def test_a_streamed_run_with_a_tool(writer: Writer) -> None:
    writer.write(f"<think>A tool.</think>I look.\n{CALL}")
    guide = agent(writer, tools=[weather_tool(writer)])
    result = agents.Runner.run_streamed(guide, "How is Rome?")
    deltas: dict[str, str] = {}
    names = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and hasattr(event.data, "delta"):
            kind = event.data.type
            deltas[kind] = deltas.get(kind, "") + event.data.delta
        elif event.type == "run_item_stream_event":
            names.append(event.name)
    assert deltas["response.reasoning_text.delta"] == "A tool."
    assert deltas["response.output_text.delta"] == "I look.\nIt is 22 degrees in Rome."
    assert deltas["response.function_call_arguments.delta"] == '{"city": "Rome"}'
    assert names.count("tool_called") == names.count("tool_output") == 1
    assert result.final_output == "It is 22 degrees in Rome."


async def test_a_form(writer: Writer) -> None:
    writer.write('{"mood": "good"}')
    result = await agents.Runner.run(agent(writer, output_type=Mood), "How are you?")
    assert result.final_output == Mood(mood="good")


async def test_a_handoff(writer: Writer) -> None:
    cook = agents.Agent(name="cook", model=model(writer.url, "scripted"))
    found = agent(writer, handoffs=[cook])

    class Hooks(agents.RunHooks):
        async def on_handoff(self, *_: Any, **__: Any) -> None:
            writer.write("Boil water.")

    writer.write(HANDOFF)
    result = await agents.Runner.run(found, "I am hungry.", hooks=Hooks())
    assert (result.last_agent.name, result.final_output) == ("cook", "Boil water.")


async def test_the_next_run_continues_a_response(writer: Writer) -> None:
    writer.write(CALL)
    guide = agent(writer, tools=[weather_tool(writer)])
    first = await agents.Runner.run(guide, "How is Rome?", auto_previous_response_id=True)
    second = await agents.Runner.run(guide, "And now?", previous_response_id=first.last_response_id)
    tokens = [run.context_wrapper.usage.input_tokens for run in (first, second)]
    assert tokens[1] > tokens[0] / 2  # all that was said before is read again
    assert second.last_response_id != first.last_response_id


async def test_a_conversation_that_the_server_keeps(writer: Writer) -> None:
    guide = agent(writer, tools=[weather_tool(writer)])
    session = agents.OpenAIConversationsSession(openai_client=guide.model._client)
    writer.write(CALL)
    await agents.Runner.run(guide, "How is Rome?", session=session)
    kinds = [item.get("type") for item in await session.get_items()]
    assert kinds == ["message", "function_call", "function_call_output", "message"]
    await session.clear_session()


async def test_the_demo_calls_a_tool_that_it_must_call(demo: str) -> None:
    guide = agents.Agent(
        name="guide",
        model=model(demo, "demo"),
        tools=[weather_tool()],
        model_settings=agents.ModelSettings(tool_choice="required"),
        tool_use_behavior="stop_on_first_tool",
    )
    result = await agents.Runner.run(guide, "How is the weather?")
    assert result.final_output in {"22 degrees in Rome", "22 degrees in Oslo"}


async def test_the_demo_fills_in_a_form(demo: str) -> None:
    guide = agents.Agent(name="guide", model=model(demo, "demo"), output_type=Mood)
    result = agents.Runner.run_streamed(guide, "How are you?")
    async for _ in result.stream_events():
        pass
    assert result.final_output.mood in {"good", "bad"}
