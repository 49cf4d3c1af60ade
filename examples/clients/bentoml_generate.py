"""BentoML's client: a whole answer, and the events of one as it is written.

pip install bentoml
"""

import os

import bentoml

URL = os.environ.get("OPENLLM_ENDPOINT", "http://localhost:3000")
KEY = os.environ.get("OPENLLM_API_KEY", "none")
QUESTION = {"role": "user", "content": "How do I build a Bento?"}

with bentoml.SyncHTTPClient(URL, token=KEY) as client:
    answer = client.generate(messages=[QUESTION])
    print(answer["outputs"][0]["text"])

    for event in client.generate_stream(messages=[QUESTION]):
        print(event, end="")
