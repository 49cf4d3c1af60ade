"""LangChain: a chat model in a chain, streamed, and an answer of a given form.

pip install langchain-openai
"""

import os
from typing import Literal

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")

model = ChatOpenAI(model="demo", base_url=f"{URL}/v1", api_key=KEY)
chain = ChatPromptTemplate.from_messages([("user", "How do I build a {thing}?")]) | model

print(chain.invoke({"thing": "Bento"}).content)

for chunk in chain.stream({"thing": "Bento"}):
    print(chunk.content, end="", flush=True)
print()


class Mood(BaseModel):
    """The mood of a text."""

    mood: Literal["good", "bad"]


print(model.with_structured_output(Mood).invoke("What a fine day!"))
