"""OpenAI's client: a whole answer, one as it is written, and one of a given form.

pip install openai
"""

import os
from typing import Literal

from openai import OpenAI
from pydantic import BaseModel

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")
QUESTION = {"role": "user", "content": "How do I build a Bento?"}

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)

answer = client.chat.completions.create(model="demo", messages=[QUESTION])
print(answer.choices[0].message.content)

for chunk in client.chat.completions.create(model="demo", messages=[QUESTION], stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()


class Mood(BaseModel):
    mood: Literal["good", "bad"]


filled = client.chat.completions.parse(model="demo", messages=[QUESTION], response_format=Mood)
print(filled.choices[0].message.parsed)
