"""LangChain's standard tests of chat models, against the demo; what takes a model that understands
the question, against one that writes what it is told.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.servers import Writer

langchain_openai = pytest.importorskip("langchain_openai", reason="needs `make test-clients`")
standard = pytest.importorskip(
    "langchain_tests.integration_tests", reason="needs `make test-clients`"
)


def call(name: str, **arguments: Any) -> str:
    """A call as the model writes it."""
    told = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{told}\n</tool_call>"


# By the name of a test: what the model writes there.
SCRIPTS: dict[str, str | list[str]] = {
    "test_tool_calling": call("magic_function", input=3),
    "test_tool_calling_async": call("magic_function", input=3),
    "test_tool_calling_with_no_arguments": call("magic_function_no_args"),
    "test_unicode_tool_call_integration": [
        call("unicode_customer", customer_name=name)
        for name in ("你好啊集团", "こんにちは株式会社")
    ],
    "test_agent_loop": [call("get_weather", location="San Francisco, CA"), "It is sunny."],
}


class TestChatOpenAI(standard.ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> Any:
        return langchain_openai.ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "demo",
            "api_key": "none",
            "temperature": 0,
            "max_tokens": 200,
            "stream_usage": True,
        }

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        """JSON mode says nothing of a schema, which the demo would have to understand."""
        return False

    @pytest.fixture(autouse=True)
    def address(self, demo: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some tests make a model of their own."""
        monkeypatch.setenv("OPENAI_BASE_URL", f"{demo}/v1")

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest, writer: Writer) -> Any:
        extra = getattr(request, "param", None) or {}
        params = {**self.chat_model_params, **extra}
        script = SCRIPTS.get(request.function.__name__)
        if script is not None:
            writer.write(script)
            params |= {"base_url": f"{writer.url}/v1", "model": "scripted"}
        return langchain_openai.ChatOpenAI(**params)
