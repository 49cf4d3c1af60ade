"""LlamaIndex: a whole answer, one as it is written, and one of a given form.

pip install llama-index-llms-openai-like
"""

import os
from typing import Literal

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")
QUESTION = ChatMessage("How do I build a Bento?")

llm = OpenAILike(
    model="demo",
    api_base=f"{URL}/v1",
    api_key=KEY,
    context_window=2048,  # the demo's; GET /v1/models says a model's
    is_chat_model=True,  # else its template is left out
    should_use_structured_outputs=True,
)

print(llm.chat([QUESTION]).message.content)

for chunk in llm.stream_chat([QUESTION]):
    print(chunk.delta, end="", flush=True)
print()


class Mood(BaseModel):
    mood: Literal["good", "bad"]


print(llm.as_structured_llm(Mood).chat([QUESTION]).raw)
