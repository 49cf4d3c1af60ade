"""Ids for calls and results that clients of Ollama tell apart by name and order."""

from __future__ import annotations

from typing import Any

from openllm.protocols.ollama.messages import with_ids
from openllm.types import Message


def call(name: str, call_id: str | None = None) -> Any:
    made = {"type": "function", "function": {"name": name, "arguments": {}}}
    return made if call_id is None else {"id": call_id, **made}


def ids(*messages: Message) -> list[Any]:
    """The ids of each message's calls, or of the call that it is the result of."""
    return [
        [item["id"] for item in message.tool_calls] if message.tool_calls else message.tool_call_id
        for message in with_ids(messages)
    ]


def result(name: str | None = None, call_id: str | None = None) -> Message:
    return Message("tool", "x", name, None, call_id)


def test_a_result_is_that_of_the_first_call_of_its_name() -> None:
    calls = Message("assistant", "", tool_calls=[call("a"), call("b"), call("a")])
    found = ids(calls, result("b"), result("a"), result("a"))
    assert found[0] == ["call00000", "call00001", "call00002"]
    assert found[1:] == ["call00001", "call00000", "call00002"]


def test_a_result_without_a_name_is_that_of_the_first_call_and_gets_its_name() -> None:
    calls = Message("assistant", "", tool_calls=[call("a"), call("b")])
    found = with_ids([calls, result(), result()])
    assert [message.tool_call_id for message in found[1:]] == ["call00000", "call00001"]
    assert [message.name for message in found[1:]] == ["a", "b"]


def test_ids_that_are_said_stay() -> None:
    calls = Message("assistant", "", tool_calls=[call("a", "x"), call("a", "y")])
    assert ids(calls, result("a", "y"), result("a"), result("a", "z")) == [
        ["x", "y"],
        "y",
        "x",
        "z",
    ]


def test_a_result_of_no_call_stays_as_it_is() -> None:
    assert ids(result("a"), Message("user", "x")) == [None, None]
