"""Errors in OpenAI's shape and words."""

from __future__ import annotations

from openllm.errors import ContextLengthExceeded, UnsupportedFeature, call, field
from openllm.http.dialect import tell
from openllm.protocols.openai.chat import CHAT
from openllm.protocols.openai.dialect import OPENAI


def test_the_shape_is_openais() -> None:
    error = ContextLengthExceeded("Too long.", hint="Shorten it.", param="prompt")
    assert OPENAI.error(tell(error, CHAT)) == {
        "error": {
            "message": "Too long. Shorten it.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }


def test_the_words_are_openais() -> None:
    error = UnsupportedFeature(
        f"Without {field('structure')}.", hint=f"See {call('LLM.adapters')}.", param="structure"
    )
    said = tell(error, OPENAI)
    assert said.message == "Without response_format. See GET /v1/models."
    assert said.param == "response_format"
