"""OpenAI's agents: one answers, and one calls a function of ours.

pip install openai-agents
"""

import os
from typing import Literal

import agents
from openai import AsyncOpenAI

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")

agents.set_tracing_disabled(True)  # traces go to OpenAI, with a key of theirs
model = agents.OpenAIResponsesModel("demo", AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY))


@agents.function_tool
def weather(city: Literal["Rome", "Oslo"]) -> str:
    """The weather of a city."""
    return f"It is sunny in {city}."


guide = agents.Agent("Guide", model=model)
print(agents.Runner.run_sync(guide, "How do I build a Bento?").final_output)

forecaster = agents.Agent(
    "Forecaster",
    model=model,
    tools=[weather],
    model_settings=agents.ModelSettings(tool_choice="required"),
    tool_use_behavior="stop_on_first_tool",
)
print(agents.Runner.run_sync(forecaster, "How is the weather in Rome?").final_output)
