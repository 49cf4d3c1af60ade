"""Responses and conversations that are kept, through the official client: continued, listed,
deleted and cancelled, each by its owner alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.protocols.openai.responses.conftest import Told, strict, tell
from tests.protocols.openai.test_tools import ROME
from tests.serving import Running, serve


def test_a_response_continues_another(told: Told) -> None:
    first = told.create("One.", input="first", instructions="Be kind.")
    second = told.create("Two.", input="second", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    told.create("Three.", input="third", previous_response_id=second.id)
    turns = "<|user|>first<|assistant|>One.<|user|>second<|assistant|>Two.<|user|>third"
    assert told.prompt() == f"{turns}<|assistant|>"  # the instructions are not carried over


def test_a_streamed_response_is_kept_as_it_ended(told: Told) -> None:
    events = told.events("One.", input="first")
    kept = told.client.responses.retrieve(events[-1].response.id)
    assert kept == events[-1].response
    told.create("Two.", input="second", previous_response_id=kept.id)
    assert told.prompt() == "<|user|>first<|assistant|>One.<|user|>second<|assistant|>"


def test_a_tool_loop_goes_on_from_what_is_kept(told: Told) -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    first = told.create(f"<think>hm</think>{ROME}", tools=[tool])
    call = first.output[-1]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "22 C"}
    told.create(input=[output], previous_response_id=first.id, tools=[tool])
    assert "<think>hm</think><tool_call>weather" in told.prompt()
    assert told.prompt().endswith("</tool_call><|tool|>22 C<|assistant|>")


def test_an_item_can_be_named_instead_of_sent(told: Told) -> None:
    first = told.create("One.", input="first")
    reference: Any = {"type": "item_reference", "id": first.output[0].id}
    told.create(input=[reference, {"role": "user", "content": "go on"}])
    assert told.prompt() == "<|assistant|>One.<|user|>go on<|assistant|>"


def test_what_was_asked_is_listed_by_the_page(told: Told) -> None:
    items: Any = [{"role": "user", "content": f"{at}"} for at in range(5)]
    response = told.create(input=items)

    def texts(**asked: Any) -> list[str]:
        found = told.client.responses.input_items.list(response.id, **asked)
        return [item.content[0].text for item in found.data]  # type: ignore[union-attr]

    assert texts() == ["4", "3", "2", "1", "0"]
    page = told.client.responses.input_items.list(response.id, limit=2, order="asc")
    shown = [item.content[0].text for item in page]  # type: ignore[union-attr]
    assert shown == ["0", "1", "2", "3", "4"]
    assert texts(order="asc", after=page.data[-1].id, limit=2) == ["2", "3"]
    url = f"/v1/responses/{response.id}/input_items"
    for query, status in (("limit=0", 400), ("limit=x", 400), ("order=up", 400), ("after=m", 404)):
        assert told.http.get(f"{url}?{query}").status_code == status


def test_a_response_can_be_deleted(told: Told) -> None:
    response = told.create()
    told.client.responses.delete(response.id)
    for ask in (told.client.responses.retrieve, told.client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="There is no response"):
            ask(response.id)
    with pytest.raises(openai.NotFoundError) as caught:
        told.create(previous_response_id=response.id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"


def test_what_is_not_to_be_kept_is_not(told: Told) -> None:
    response = told.create(store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        told.client.responses.retrieve(response.id)


def test_what_is_complete_is_not_cancelled_or_streamed(told: Told) -> None:
    response = told.create()
    with pytest.raises(openai.BadRequestError, match="background"):
        told.client.responses.cancel(response.id)
    answer = told.http.get(f"/v1/responses/{response.id}?stream=true")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")


# Conversations.


def test_a_conversation_grows_with_its_responses(told: Told) -> None:
    client = told.client
    thread = client.conversations.create(
        items=[{"role": "user", "content": "I am Bo."}], metadata={"topic": "names"}
    )
    assert thread.metadata == {"topic": "names"}
    response = told.create("Bo.", input="Who am I?", conversation=thread.id)
    assert response.conversation.id == thread.id
    assert told.prompt() == "<|user|>I am Bo.<|user|>Who am I?<|assistant|>"
    told.events("Yes.", input="Sure?", conversation={"id": thread.id})
    assert told.prompt().endswith("<|assistant|>Bo.<|user|>Sure?<|assistant|>")
    items: Any = client.conversations.items.list(thread.id, order="asc", limit=100).data
    assert [item.content[0].text for item in items] == [
        "I am Bo.",
        "Who am I?",
        "Bo.",
        "Sure?",
        "Yes.",
    ]


def test_a_conversation_is_changed_item_by_item(told: Told) -> None:
    conversations = told.client.conversations
    thread = conversations.create()
    assert conversations.items.list(thread.id).data == []
    added: Any = conversations.items.create(
        thread.id, items=[{"role": "user", "content": text} for text in ("a", "b")]
    ).data
    one: Any = conversations.items.retrieve(added[0].id, conversation_id=thread.id)
    assert one == added[0]
    conversations.items.delete(added[0].id, conversation_id=thread.id)
    assert [item.id for item in conversations.items.list(thread.id)] == [added[1].id]
    with pytest.raises(openai.NotFoundError):
        conversations.items.retrieve(added[0].id, conversation_id=thread.id)
    assert conversations.update(thread.id, metadata={"a": "b"}).metadata == {"a": "b"}
    assert conversations.retrieve(thread.id).metadata == {"a": "b"}
    assert conversations.delete(thread.id).deleted
    with pytest.raises(openai.NotFoundError, match="There is no conversation"):
        told.create(conversation=thread.id)


def test_a_conversation_and_a_response_cannot_both_be_continued(told: Told) -> None:
    thread, response = told.client.conversations.create(), told.create()
    with pytest.raises(openai.BadRequestError) as caught:
        told.create(conversation=thread.id, previous_response_id=response.id)
    assert caught.value.param == "conversation"


# In the background.


@pytest.fixture(scope="module")
def slow(echo_model: Path) -> Iterator[Running]:
    """An engine that takes its time."""
    with serve(echo_llm(echo_model, engine_args={"delay": 0.02})) as running:
        yield running


def finish(running: Running) -> None:
    """Return once nothing is being answered."""
    running.wait_until(lambda: running.server.limits.live == 0)


def test_a_response_in_the_background_is_complete_later(slow: Running) -> None:
    with strict(slow) as client:
        response = client.responses.create(input="hello world", background=True)
        assert (response.status, response.background) == ("in_progress", True)
        finish(slow)
        kept = client.responses.retrieve(response.id)
        assert (kept.status, kept.background) == ("completed", True)
        assert "hello world" in kept.output_text
        assert client.responses.cancel(response.id) == kept
        again = client.responses.create(input="again", previous_response_id=response.id)
        assert "hello world" in again.output_text


def test_a_response_in_the_background_can_be_cancelled(slow: Running) -> None:
    with strict(slow) as client:
        response = client.responses.create(input="word " * 90, background=True)
        assert client.responses.retrieve(response.id).status == "in_progress"
        assert client.responses.cancel(response.id).status == "cancelled"
        finish(slow)
        assert slow.llm.stats().running == 0
        assert client.responses.retrieve(response.id).status == "cancelled"
        assert client.responses.cancel(response.id).status == "cancelled"


def test_a_response_in_the_background_ends_when_it_is_deleted(slow: Running) -> None:
    with strict(slow) as client:
        response = client.responses.create(input="word " * 90, background=True)
        client.responses.delete(response.id)
        finish(slow)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response.id)


def test_a_response_in_the_background_fails_by_itself(echo_model: Path) -> None:
    dying = echo_llm(echo_model, engine_args={"die_after": 20})
    with serve(dying) as running, strict(running) as client:
        response = client.responses.create(input="word " * 90, background=True)
        finish(running)
        kept = client.responses.retrieve(response.id)
    assert kept.status == "failed"
    assert kept.error is not None
    assert kept.error.code == "server_error"


def test_what_cannot_be_begun_is_refused_at_once(slow: Running) -> None:
    with strict(slow) as client, pytest.raises(openai.BadRequestError):
        client.responses.create(input="a " * 600, background=True)


# Whose it is, and how much of it.


def test_each_key_has_its_own(echo_model: Path) -> None:
    settings = Settings(api_key="user-key", admin_key="admin-key")
    with (
        serve(echo_llm(echo_model), settings=settings) as running,
        strict(running, "user-key") as user,
        strict(running, "admin-key") as admin,
    ):
        response = user.responses.create(input="hello")
        thread = user.conversations.create()
        item: Any = {"type": "item_reference", "id": response.output[0].id}
        asks: list[Any] = [
            lambda: admin.responses.retrieve(response.id),
            lambda: admin.responses.delete(response.id),
            lambda: admin.responses.create(input="a", previous_response_id=response.id),
            lambda: admin.responses.create(input="a", conversation=thread.id),
            lambda: admin.responses.create(input=[item]),
            lambda: admin.conversations.items.list(thread.id),
        ]
        for ask in asks:
            with pytest.raises(openai.NotFoundError):
                ask()
        assert user.responses.retrieve(response.id).id == response.id


def test_a_server_may_keep_nothing(echo_model: Path) -> None:
    for told in tell(echo_model, settings=Settings(max_stored_responses=0)):
        response = told.create()
        assert response.store is False
        client = told.client
        asks: list[Any] = [
            partial(told.create, previous_response_id=response.id),
            partial(told.create, background=True),
            client.conversations.create,
            partial(client.responses.retrieve, response.id),
        ]
        for ask in asks:
            with pytest.raises(openai.BadRequestError, match="OPENLLM_MAX_STORED_RESPONSES"):
                ask()


def test_what_was_used_least_recently_makes_room(echo_model: Path) -> None:
    for told in tell(echo_model, settings=Settings(max_stored_responses=2)):
        first, second, third = (told.create().id for _ in range(3))
        with pytest.raises(openai.NotFoundError, match="make room"):
            told.client.responses.retrieve(first)
        told.client.responses.retrieve(second)
        fourth = told.create().id
        with pytest.raises(openai.NotFoundError):
            told.client.responses.retrieve(third)
        assert told.client.responses.retrieve(second).id != fourth
