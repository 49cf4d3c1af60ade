"""pydantic-ai: an agent's answer, and one of a given type.

pip install 'pydantic-ai-slim[openai]'
"""

import os
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")

model = OpenAIChatModel("demo", provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY))

print(Agent(model).run_sync("How do I build a Bento?").output)


class Mood(BaseModel):
    mood: Literal["good", "bad"]


print(Agent(model, output_type=Mood).run_sync("What a fine day!").output)
