"""openllm's own client: an answer as it is written, a text that goes on, and vectors.

It comes with openllm; docs/client.md has all that it can do.
"""

import os

from openllm.client import Client

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY")

with Client(URL, key=KEY) as client:
    client.wait_until_ready(60)  # seconds
    print(client.chat("How do I build a Bento?").text)

    for delta in client.chat_stream("How do I build a Bento?"):
        print(delta.text, end="", flush=True)
    print()

    print(client.generate("A Bento is", max_tokens=20).text)
    print(len(client.embed(["A Bento is"])[0]), "numbers")
