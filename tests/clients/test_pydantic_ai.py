"""pydantic-ai: tools and typed answers, with OpenAI's protocol and with Anthropic's."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import pytest

from tests.clients.servers import Writer

pydantic_ai = pytest.importorskip("pydantic_ai", reason="needs `make test-clients`")

ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Mood(pydantic.BaseModel):
    """What the demo is asked to fill in."""

    mood: Literal["good", "bad"]


def model_of(vendor: str, url: str, name: str) -> Any:
    if vendor == "anthropic":
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicModel(name, provider=AnthropicProvider(base_url=url, api_key="none"))
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_a_tool_is_run(writer: Writer, vendor: str) -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        writer.write("It is sunny in Rome.")
        return "sunny"

    agent = pydantic_ai.Agent(model_of(vendor, writer.url, "scripted"), tools=[weather])
    writer.write(ROME)
    result = await agent.run("How is the weather in Rome?")
    assert asked == ["Rome"]
    assert result.output == "It is sunny in Rome."


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_an_answer_has_its_type(demo: str, vendor: str) -> None:
    """The last answer is a call of a tool that pydantic-ai requires."""
    agent = pydantic_ai.Agent(model_of(vendor, demo, "demo"), output_type=Mood)
    result = await agent.run("How are you?", model_settings={"max_tokens": 80})
    assert result.output.mood in ("good", "bad")
