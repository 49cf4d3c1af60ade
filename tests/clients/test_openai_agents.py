"""openai-agents: a tool is run between two answers, over responses and over chat."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.servers import Writer

openai = pytest.importorskip("openai", reason="needs `make test-clients`")
agents = pytest.importorskip("agents", reason="needs `make test-clients`")

ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


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

    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=f"{writer.url}/v1", api_key="none") as client:
        agent: Any = agents.Agent(
            name="Forecaster",
            instructions="Tell the weather.",
            model=getattr(agents, model)(model="scripted", openai_client=client),
            tools=[weather],
        )
        writer.write(ROME)
        if streamed:
            result = agents.Runner.run_streamed(agent, "How is the weather in Rome?")
            async for _ in result.stream_events():
                pass
        else:
            result = await agents.Runner.run(agent, "How is the weather in Rome?")
    assert asked == ["Rome"]
    assert result.final_output == "It is sunny in Rome."
