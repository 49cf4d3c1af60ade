"""Documents for a template that shows none stand in the system message."""

from __future__ import annotations

from typing import Any

from openllm.prompt.documents import told
from openllm.prompt.expectations import Expectations
from openllm.types import Conversation, Message

DOCUMENTS: Any = ({"title": "Köln", "text": "A city."}, {"text": "More."})
USER = Message("user", "hi")


def test_a_template_that_shows_them_gets_them() -> None:
    conversation = Conversation((USER,), documents=DOCUMENTS)
    assert told(conversation, Expectations(documents=True)) is conversation


def test_any_other_is_told_in_the_system_message() -> None:
    found = told(Conversation((USER,), documents=DOCUMENTS), Expectations())
    [system, user] = found.messages
    assert (system.role, user, found.documents) == ("system", USER, ())
    assert '{"title": "Köln", "text": "A city."}\n{"text": "More."}\n' in str(system.content)


def test_where_system_messages_are_refused_in_the_first() -> None:
    found = told(Conversation((USER,), documents=DOCUMENTS), Expectations(system=False))
    [user] = found.messages
    assert str(user.content).endswith("</documents>\n\nhi")
