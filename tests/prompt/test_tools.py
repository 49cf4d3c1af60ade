"""Tools for a template that shows none: nothing of them is lost."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from openllm.answer.formats import tool_format
from openllm.errors import UnsupportedFeature
from openllm.prompt.expectations import Expectations
from openllm.prompt.tools import block, told
from openllm.types import Conversation, Message

TOOL: Any = {"type": "function", "function": {"name": "look", "description": "Looks «there»."}}
HERMES = tool_format("hermes")
CALLS = [
    {"function": {"name": "look", "arguments": '{"at": "Köln"}'}},
    {"function": {"name": "look", "arguments": "{broken"}},
]


def texts(conversation: Conversation, **expects: bool) -> list[tuple[str, object]]:
    found = told(conversation, Expectations(**expects), HERMES)
    assert found.tools == ()
    assert all(message.tool_calls is None for message in found.messages)
    return [(message.role, message.content) for message in found.messages]


def test_tools_are_told_in_a_system_message() -> None:
    [system, user] = texts(Conversation((Message("user", "hi"),), (TOOL,)))
    assert system == ("system", block([TOOL], HERMES))
    assert user == ("user", "hi")
    assert '{"name": "look", "description": "Looks «there»."}' in block([TOOL], HERMES)


def test_a_system_message_that_is_there_keeps_its_place() -> None:
    messages = (Message("system", "Be brief."), Message("user", "hi"))
    [(_, content), _] = texts(Conversation(messages, (TOOL,)))
    assert content == f"Be brief.\n\n{block([TOOL], HERMES)}"


def test_a_template_that_refuses_system_messages_gets_none() -> None:
    assert texts(Conversation((Message("user", "hi"),), (TOOL,)), system=False) == [
        ("user", f"{block([TOOL], HERMES)}\n\nhi")
    ]


def test_calls_and_results_become_texts() -> None:
    messages = (
        Message("user", "hi"),
        Message("assistant", "I look.", tool_calls=CALLS),
        Message("tool", "a", tool_call_id="1"),
        Message("tool", [{"type": "text", "text": "b"}], tool_call_id="2"),
    )
    _, called, results = texts(Conversation(messages))
    assert called == (
        "assistant",
        (
            'I look.\n<tool_call>\n{"name": "look", "arguments": {"at": "Köln"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "look", "arguments": "{broken"}\n</tool_call>'
        ),
    )
    assert results == (
        "user",
        "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>",
    )


def test_a_call_cannot_be_continued() -> None:
    asked = Conversation((Message("assistant", None, tool_calls=CALLS),))
    asked = attrs.evolve(asked, add_generation_prompt=False, continue_final_message=True)
    with pytest.raises(UnsupportedFeature, match="cannot be continued"):
        told(asked, Expectations(), HERMES)


def test_the_block_and_the_calls_are_in_the_format_that_is_said() -> None:
    form = tool_format("pythonic")
    asked = Conversation((Message("assistant", None, tool_calls=CALLS),), (TOOL,))
    system, called = told(asked, Expectations(), form).messages
    assert system.content == block([TOOL], form)
    assert "[the function's name(an argument's name='its value')]" in system.content
    assert isinstance(called.content, str)
    assert called.content.startswith("[look(at='Köln')]\n")
    assert '"arguments": "{broken"' in called.content  # what is no object, no format can write
