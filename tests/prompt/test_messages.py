"""What a part of a message may be is one answer, whether the message comes from Python or over
HTTP.
"""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.errors import OpenLLMError, UnsupportedFeature
from openllm.http.body.fields import Fields
from openllm.prompt.expectations import Expectations
from openllm.prompt.messages import TEXT_PARTS, template_message
from openllm.protocols.openai.messages import read_conversation
from openllm.types import Message


def over_http(part: dict[str, Any]) -> object:
    """The content that a request's one part comes to, as a template is given it."""
    body = {"messages": [{"role": "assistant", "content": [part]}]}
    (message,) = read_conversation(Fields(body), Settings()).messages
    return template_message(message, Expectations())["content"]


def in_python(part: dict[str, Any]) -> object:
    return template_message(Message("assistant", [part]), Expectations())["content"]


@pytest.mark.parametrize("kind", [*TEXT_PARTS, "output_text"])
def test_every_kind_of_text_is_taken_on_both_ways(kind: str) -> None:
    part = {"type": kind, TEXT_PARTS[kind]: "so be it"}
    assert over_http(part) == in_python(part) == "so be it"


def test_a_part_of_an_earlier_answer_is_taken_as_it_came() -> None:
    part = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}
    assert over_http(part) == in_python(part) == "hi"


@pytest.mark.parametrize("kind", ["video_url", "input_video", "input_audio", "file", "Text", ""])
def test_what_is_no_text_is_refused_on_both_ways_with_the_kinds_there_are(kind: str) -> None:
    for read in (over_http, in_python):
        with pytest.raises(UnsupportedFeature, match=f"only text is taken, not {kind!r}") as caught:
            read({"type": kind, "text": "a"})
        assert all(word in str(caught.value) for word in TEXT_PARTS)


@pytest.mark.parametrize("part", [{"type": "refusal", "text": "a"}, {"type": "text"}])
def test_a_part_without_its_text_is_refused_on_both_ways(part: dict[str, Any]) -> None:
    for read in (over_http, in_python):
        with pytest.raises(OpenLLMError, match=r"text|refusal"):
            read(part)
