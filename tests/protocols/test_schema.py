"""BentoML's own client knows a server by its description, and calls it."""

from __future__ import annotations

from bentoml import SyncHTTPClient

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.protocols.native.parse import read_native
from openllm.protocols.native.schema import properties
from tests.serving import Running


def test_bentomls_client_generates(running: Running) -> None:
    with SyncHTTPClient(running.url, server_ready_timeout=10) as client:
        assert set(client.endpoints) == {"generate", "generate_stream"}
        answer = client.generate(prompt="hello world", max_tokens=3)
        assert answer["outputs"][0]["finish_reason"] == "length"
        messages = [{"role": "user", "content": "hello"}]
        assert client.generate(messages=messages)["outputs"][0]["text"] == "hello"
        events = "".join(client.generate_stream(prompt="hello", temperature=0.5, stop=["x"]))
        assert events.startswith("data: {")
        assert events.endswith("data: [DONE]\n\n")


def test_every_field_of_the_description_is_one_of_the_body() -> None:
    values = {"string": "a", "number": 1.0, "integer": 1, "boolean": True, "object": {}}
    for name, schema in properties().items():
        value = [] if schema["type"] == "array" else values[schema["type"]]
        if name in ("prompt", "messages", "response_format"):
            continue
        fields = Fields({"prompt": "a", name: value}, ignored=(ignored := []))
        read_native(fields, Settings())
        assert ignored == [], name
