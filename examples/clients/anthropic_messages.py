"""Anthropic's client: a whole answer, and one as it is written.

pip install anthropic
"""

import os

from anthropic import Anthropic

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")
QUESTION = {"role": "user", "content": "How do I build a Bento?"}

client = Anthropic(base_url=URL, api_key=KEY)  # without /v1: the client adds it

answer = client.messages.create(model="demo", max_tokens=200, messages=[QUESTION])
print(answer.content[0].text)

with client.messages.stream(model="demo", max_tokens=200, messages=[QUESTION]) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
