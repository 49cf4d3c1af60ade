"""OpenAI's messages and tools as what the chat template is given."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields
from openllm.protocols.openai.messages import read_conversation
from openllm.types import Conversation, Message

HELLO: Any = {"role": "user", "content": "hello"}
TOOL: Any = {
    "type": "function",
    "function": {"name": "look", "description": None, "parameters": {"type": "object"}},
}


def read(body: dict[str, Any], **settings: Any) -> Conversation:
    fields = Fields({"messages": [HELLO], **body})
    found = read_conversation(fields, Settings(**settings))
    fields.close()
    return found


def test_the_plain_case_asks_for_an_answer() -> None:
    assert read({}) == Conversation((Message("user", "hello"),))


def test_developer_is_the_system_to_a_template() -> None:
    assert read({"messages": [{"role": "developer", "content": "short"}]}).messages == (
        Message("system", "short"),
    )


def test_arguments_of_calls_reach_the_template_as_objects() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": '{"at": [1, 2]}'},
    }
    messages = [
        HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    _, assistant, tool = read({"messages": messages}).messages
    assert assistant.content is None  # the template decides what it makes of that
    assert assistant.tool_calls is not None
    assert assistant.tool_calls[0]["function"] == {"name": "look", "arguments": {"at": [1, 2]}}
    assert (tool.content, tool.tool_call_id) == ("x", "c1")


def test_what_an_answer_had_can_be_sent_back_as_it_was() -> None:
    answer = {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "annotations": None,
        "audio": None,
    }
    more = {"function_call": None, "tool_calls": None}
    assert read({"messages": [HELLO, {**answer, **more}]}).messages[1] == Message("assistant", "hi")


@pytest.mark.parametrize(("choice", "shown"), [(None, 1), ("auto", 1), ("none", 0)])
def test_tools_are_shown_unless_they_must_not_be_called(choice: str | None, shown: int) -> None:
    tools = read({"tools": [TOOL], "tool_choice": choice}).tools
    assert len(tools) == shown
    if shown:
        assert tools[0] == {
            "type": "function",
            "function": {"name": "look", "parameters": {"type": "object"}},
        }


def test_continuing_a_message_needs_no_second_switch() -> None:
    messages = [HELLO, {"role": "assistant", "content": "wor"}]
    found = read({"messages": messages, "continue_final_message": True})
    assert (found.continue_final_message, found.add_generation_prompt) == (True, False)


def test_other_arguments_of_the_template_need_the_operators_leave() -> None:
    body = {"chat_template_kwargs": {"documents": [{"text": "a"}]}}
    with pytest.raises(UnsupportedFeature, match="OPENLLM_TRUST_REQUEST_CHAT_TEMPLATE"):
        read(body)
    assert read(body, trust_request_chat_template=True).template_kwargs == {
        "documents": [{"text": "a"}]
    }


def test_scalar_arguments_of_the_template_need_no_leave() -> None:
    body = {"chat_template_kwargs": {"enable_thinking": False, "level": 2, "style": None}}
    assert read(body).template_kwargs == {"enable_thinking": False, "level": 2}
