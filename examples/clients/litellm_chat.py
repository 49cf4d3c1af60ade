"""LiteLLM: a whole answer, and one as it is written.

pip install litellm
"""

import os

import litellm

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")
# hosted_vllm/ is LiteLLM's name for servers of this kind; openai/ does as well
SERVER = {"model": "hosted_vllm/demo", "api_base": f"{URL}/v1", "api_key": KEY}
QUESTION = {"role": "user", "content": "How do I build a Bento?"}

answer = litellm.completion(messages=[QUESTION], **SERVER)
print(answer.choices[0].message.content)

for chunk in litellm.completion(messages=[QUESTION], stream=True, **SERVER):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
