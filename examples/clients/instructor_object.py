"""instructor: an answer as an object of a given type, whole and while it grows.

pip install instructor
"""

import os
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")


class Mood(BaseModel):
    """The mood of a text."""

    mood: Literal["good", "bad"]


client = instructor.from_openai(
    OpenAI(base_url=f"{URL}/v1", api_key=KEY),
    mode=instructor.Mode.JSON_SCHEMA,
)
asked = {
    "model": "demo",
    "messages": [{"role": "user", "content": "What a fine day!"}],
    "response_model": Mood,
}

print(client.chat.completions.create(**asked))

for part in client.chat.completions.create_partial(**asked):
    print(part)
