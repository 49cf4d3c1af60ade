"""What templates expect, told from their text: idioms of the models that people use."""

from __future__ import annotations

import pytest
from jinja2 import Environment

from openllm.prompt.expectations import Expectations, expectations
from openllm.prompt.messages import template_message
from openllm.types import Message

CALLED = Message(
    "assistant",
    None,
    tool_calls=[{"type": "function", "function": {"name": "f", "arguments": {"a": "ä"}}}],
    reasoning="hm",
)


def of(source: str) -> Expectations:
    return expectations(Environment(autoescape=True).parse(source))


@pytest.mark.parametrize(
    ("source", "splices"),
    [
        ("{{ '```json\\n' + tool['function']['arguments'] + '\\n```' }}", True),  # DeepSeek's
        ("{{ tool.function.arguments }}", True),
        ("{{ 'a' ~ tool.function.arguments }}", True),
        ("{% set args = tool.function.arguments %}{{ args }}", True),
        ("{{ tool.function.arguments | tojson }}", False),
        (
            "{% set args = tool.function.arguments %}{% if args is string %}{{ args }}{% endif %}",
            False,
        ),
        ("{% for key, value in tool.arguments | items %}{{ key }}{% endfor %}", False),
    ],
)
def test_arguments_are_text_where_they_are_spliced(source: str, splices: bool) -> None:
    expects = of(source)
    assert expects.splices_arguments is splices
    [call] = template_message(CALLED, expects)["tool_calls"]
    assert call["function"]["arguments"] == ('{"a": "ä"}' if splices else {"a": "ä"})


@pytest.mark.parametrize(
    ("source", "content"),
    [("{% if message['content'] is none %}{% endif %}", None), ("{{ message.content }}", "")],
)
def test_null_content_is_none_where_the_template_looks(source: str, content: str | None) -> None:
    assert template_message(CALLED, of(source))["content"] == content


def test_a_thought_has_every_name() -> None:
    message = template_message(CALLED, Expectations())
    assert [message[name] for name in ("reasoning_content", "reasoning", "thinking")] == ["hm"] * 3
    assert "reasoning" not in template_message(Message("assistant", "a"), Expectations())


@pytest.mark.parametrize(
    ("source", "takes"),
    [
        (  # Gemma's
            (
                "{% if messages[0]['role'] == 'system' %}"
                "{{ raise_exception('System role not supported') }}{% endif %}"
            ),
            False,
        ),
        ("{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}", True),
        ("{% if role not in ['system', 'user'] %}{{ raise_exception('no') }}{% endif %}", True),
        ("{% if role == 'tool' %}{{ raise_exception('no') }}{% endif %}", True),
    ],
)
def test_who_refuses_a_system_message_is_known(source: str, takes: bool) -> None:
    assert of(source).system is takes


@pytest.mark.parametrize(
    ("source", "shows"),
    [("{% if tools %}{{ tools }}{% endif %}", True), ("{{ messages[0].tools }}", False)],
)
def test_who_shows_tools_is_known(source: str, shows: bool) -> None:
    assert of(source).tools is shows
