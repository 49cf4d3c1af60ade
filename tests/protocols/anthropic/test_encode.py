"""Answers as Anthropic's clients read them: blocks, events in their order, why it ended, usage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.scripted import Scripted
from tests.serving import serve

PATH = "/v1/messages"
ASK: Any = [{"role": "user", "content": "hello"}]
TOOLS: Any = [{"name": "weather", "input_schema": {"type": "object"}}]
ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
OSLO = ROME.replace("Rome", "Oslo")
Served = tuple[Scripted, httpx.Client]


def whole(served: Served, script: str, **body: Any) -> Any:
    served[0].backend.script = script
    answer = served[1].post(PATH, json={"max_tokens": 500, "messages": ASK, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def streamed(served: Served, script: str, **body: Any) -> list[Any]:
    served[0].backend.script = script
    sent = {"max_tokens": 500, "messages": ASK, "stream": True, **body}
    return events(served[1].post(PATH, json=sent))


def events(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def put_together(found: list[Any]) -> Any:
    """The message that a client makes of the events; they are in their order."""
    first, ping, *others = found
    assert (first["type"], ping) == ("message_start", {"type": "ping"})
    message = first["message"]
    assert (message["content"], message["stop_reason"]) == ([], None)
    is_open = False
    for event in others:
        kind = event["type"]
        if kind == "content_block_start":
            assert not is_open
            assert event["index"] == len(message["content"])
            is_open, arguments = True, ""
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert is_open
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                arguments += delta["partial_json"]
            else:
                key = delta["type"].removesuffix("_delta")
                block[key] += delta[key]
        elif kind == "content_block_stop":
            assert is_open
            is_open = False
            block = message["content"][event["index"]]
            if block["type"] == "tool_use":
                block["input"] = json.loads(arguments)
        elif kind == "message_delta":
            message |= {**event["delta"], "usage": event["usage"]}
    assert not is_open
    assert [event["type"] for event in found[-2:]] == ["message_delta", "message_stop"]
    return message


def without_ids(message: Any) -> Any:
    blocks = [{**block, "id": None} for block in message["content"]]
    return {**message, "id": None, "content": blocks}


@pytest.mark.parametrize(
    ("script", "kinds", "reason"),
    [
        ("Hello, world!", ["text"], "end_turn"),
        ("\n Hello", ["text"], "end_turn"),
        ("<think>Hm.</think>\n\nYes.", ["thinking", "text"], "end_turn"),
        (f"I look.\n{ROME}", ["text", "tool_use"], "tool_use"),
        (
            f"<think>Both.</think>\n\n{ROME}\n{OSLO}",
            ["thinking", "tool_use", "tool_use"],
            "tool_use",
        ),
        ("<think>Hm.</think>", ["thinking"], "end_turn"),
        ("", [], "end_turn"),
    ],
)
def test_a_stream_and_a_whole_answer_are_one_message(
    scripted: Served, script: str, kinds: list[str], reason: str
) -> None:
    answer = whole(scripted, script, tools=TOOLS)
    assert [block["type"] for block in answer["content"]] == kinds
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "scripted")
    assert (answer["stop_reason"], answer["stop_sequence"]) == (reason, None)
    assert answer["id"].startswith("msg_")
    found = put_together(streamed(scripted, script, tools=TOOLS))
    assert without_ids(found) == without_ids(answer)


def test_every_block_has_what_it_says(scripted: Served) -> None:
    answer = whole(scripted, f"<think>Both.</think>I look.\n{ROME}\n{OSLO}", tools=TOOLS)
    thought, text, first, second = answer["content"]
    assert (thought["thinking"], bool(thought["signature"])) == ("Both.", True)
    assert text["text"].strip() == "I look."
    assert [call["name"] for call in (first, second)] == ["weather"] * 2
    assert [call["input"] for call in (first, second)] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert first["id"] != second["id"]
    assert answer["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_a_thought_may_be_left_out(scripted: Served) -> None:
    asked = {"thinking": {"type": "adaptive", "display": "omitted"}}
    answer = whole(scripted, "<think>Hm.</think>Yes.", **asked)
    assert [block.get("thinking") for block in answer["content"]] == ["", None]
    assert answer["content"][0]["signature"]
    found = streamed(scripted, "<think>Hm.</think>Yes.", **asked)
    assert "thinking_delta" not in json.dumps(found)
    assert without_ids(put_together(found)) == without_ids(answer)


def test_why_it_ended_is_said(scripted: Served) -> None:
    stopped = whole(scripted, "one two three", stop_sequences=["two"])
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "two")
    assert stopped["content"] == [{"type": "text", "text": "one "}]
    cut = whole(scripted, "one two three", max_tokens=2)
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 2)


def test_a_call_that_is_cut_short_is_kept_as_it_is(scripted: Served) -> None:
    script = ROME.replace("Rome", "Rome or Oslo" * 9)
    most = whole(scripted, script, tools=TOOLS)["usage"]["output_tokens"] - 30
    cut = whole(scripted, script, tools=TOOLS, max_tokens=most)
    [call] = cut["content"]
    assert cut["stop_reason"] == "max_tokens"
    assert call["input"]["arguments"].startswith('{"city"')


def test_usage_is_there_from_the_first_event(scripted: Served) -> None:
    found = streamed(scripted, "Hello!")
    first, last = found[0]["message"]["usage"], found[-2]["usage"]
    size = len(scripted[0].backend.requests[-1].prompt_token_ids)
    assert first["input_tokens"] == last["input_tokens"] == size
    assert (first["output_tokens"], last["output_tokens"] > 0) == (0, True)


# Errors, keys and who is asking.


def test_an_error_within_a_stream_is_its_last_event(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"die_after": 3})
    with serve(llm) as dying, dying.client() as client:
        sent = {"max_tokens": 9, "messages": ASK, "stream": True}
        found = events(client.post(PATH, json=sent))
    assert found[0]["type"] == "message_start"
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["type"] == "api_error"
    assert found[-1]["error"]["message"].startswith("The echo engine has stopped")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/models/nobody", 404, "not_found_error"),
        ("POST", "/v1/messages", 400, "invalid_request_error"),
    ],
)
def test_an_error_has_its_type_and_the_requests_id(
    client: httpx.Client, method: str, path: str, status: int, kind: str
) -> None:
    answer = client.request(method, path, headers={"anthropic-version": "2023-06-01"})
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


def test_a_server_that_is_busy_or_was_sent_too_much_says_it_its_way(echo_model: Path) -> None:
    settings = Settings(max_body_bytes=100)
    with serve(echo_llm(echo_model), settings=settings) as small, small.client() as client:
        large = client.post(PATH, json={"max_tokens": 1, "messages": ASK * 20})
        small.server.limits.draining = True
        busy = client.post(PATH, json={"max_tokens": 1, "messages": ASK})
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
    assert (busy.status_code, busy.json()["error"]["type"]) == (529, "overloaded_error")
    assert int(busy.headers["retry-after"]) > 0


def test_a_key_is_taken_in_either_header(echo_model: Path) -> None:
    sent = ({"x-api-key": "k"}, {"authorization": "Bearer k"}, {"x-api-key": "wrong"}, {})
    settings = Settings(api_key="k")
    with serve(echo_llm(echo_model), settings=settings) as closed, closed.client() as client:
        body = {"max_tokens": 1, "messages": ASK}
        found = [client.post(PATH, json=body, headers=headers) for headers in sent]
    assert [answer.status_code for answer in found] == [200, 200, 401, 401]
    assert found[-1].json()["error"]["type"] == "authentication_error"
    assert "x-api-key" in found[-1].json()["error"]["message"]
