"""DSPy: a question, and a signature whose output is held to its type by the server.

pip install dspy
"""

import os

import dspy
from dspy.lm15 import AccessPolicy, ModelSupport, OpenAIChatCompat, ProviderDefinition

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")

# dspy.LM("openai/demo", api_base=...) does as well, but knows of no JSON schemas
openllm = ProviderDefinition.chat(
    AccessPolicy("openllm", base_url=f"{URL}/v1"), compat=OpenAIChatCompat()
)
dspy.lm15.register_provider(openllm, supports=ModelSupport(response_schema=True))
model = dspy.LM("openllm/demo", api_key=KEY)
print(model("How do I build a Bento?")[0])

dspy.configure(lm=model, adapter=dspy.JSONAdapter())
mood = dspy.Predict("text -> mood: Literal['good', 'bad']")
print(mood(text="What a fine day!").mood)
