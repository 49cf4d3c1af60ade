"""/v2/chat: whole and as events; sampling, tools, thoughts and documents in Cohere's words."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from openllm.errors import EngineError
from openllm.http.dialect import tell
from openllm.protocols.cohere.dialect import COHERE
from openllm.types import StructureKind
from tests.scripted import Scripted

PATH = "/v2/chat"
ASK: Any = [{"role": "user", "content": "hello world"}]
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
Served = tuple[Scripted, httpx.Client]


@pytest.fixture(name="served")
def _served(scripted: Served) -> Served:
    return scripted


def whole(client: httpx.Client, **body: Any) -> Any:
    answer = client.post(PATH, json={"messages": ASK, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(client: httpx.Client, **body: Any) -> list[Any]:
    answer = client.post(PATH, json={"messages": ASK, "stream": True, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *found, last = answer.text.split("\n\n")[:-1]
    assert last == "data: [DONE]"
    values = []
    for event in found:
        name, data = event.split("\n")
        values.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {values[-1]['type']}"
    return values


def contents(found: list[Any]) -> list[dict[str, Any]]:
    """The content of a streamed answer, put together."""
    content: list[dict[str, Any]] = []
    for event in found:
        if event["type"] == "content-start":
            assert event["index"] == len(content)
            content.append(event["delta"]["message"]["content"])
        elif event["type"] == "content-delta":
            for key, text in event["delta"]["message"]["content"].items():
                content[event["index"]][key] += text
    return content


def written(served: Served, script: str, **body: Any) -> Any:
    served[0].backend.script = script
    return whole(served[1], **body)


def params_of(served: Served) -> Any:
    return served[0].backend.requests[-1].params


def refused(client: httpx.Client, **body: Any) -> str:
    answer = client.post(PATH, json={"messages": ASK, **body})
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["message"]
    return str(answer.json()["message"])


# The two forms of an answer.


def test_an_answer_whole_and_as_events(client: httpx.Client) -> None:
    answer, found = whole(client, model="echo"), events(client, model="echo")
    assert answer["message"]["content"] == contents(found)
    assert list(answer["message"]) == ["role", "content"]
    assert found[0]["delta"] == {"message": {"role": "assistant"}}
    for end in (answer, found[-1]["delta"]):
        assert end["finish_reason"] == "COMPLETE"
        tokens = end["usage"]["tokens"]
        assert tokens == end["usage"]["billed_units"]
        assert min(tokens.values()) > 0


def test_why_an_answer_ends(served: Served) -> None:
    assert written(served, "one two", max_tokens=2)["finish_reason"] == "MAX_TOKENS"
    stopped = written(served, "one two", stop_sequences=["two"])
    assert stopped["finish_reason"] == "STOP_SEQUENCE"
    assert stopped["message"]["content"] == [{"type": "text", "text": "one "}]
    end = events(served[1], stop_sequences=["two"])[-1]["delta"]
    assert end["finish_reason"] == "STOP_SEQUENCE"


@pytest.mark.parametrize("script", ["", " \n"])
def test_an_answer_of_nothing_has_a_text(served: Served, script: str) -> None:
    answer = written(served, script)
    assert answer["message"]["content"] == [{"type": "text", "text": script}]
    assert "".join(part["text"] for part in contents(events(served[1]))) == script


def test_tokens_are_told_with_their_logprobs(served: Served) -> None:
    answer = written(served, "one two", logprobs=True)
    tokens = [number for item in answer["logprobs"] for number in item["token_ids"]]
    shown = [event for event in events(served[1], logprobs=True) if "logprobs" in event]
    assert [number for event in shown for number in event["logprobs"]["token_ids"]] == tokens
    assert len(tokens) == answer["usage"]["tokens"]["output_tokens"]
    assert all(event["type"] == "content-delta" for event in shown)
    assert "".join(event["logprobs"]["text"] for event in shown).startswith("one two")


# What is asked.


def test_sampling_in_its_words(served: Served) -> None:
    written(
        served,
        "yes",
        temperature=0.5,
        k=7,
        p=0.8,
        seed=3,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        max_tokens=9,
        stop_sequences=["x", ""],
        priority=0,
        safety_mode="CONTEXTUAL",
        citation_options={"mode": "FAST"},
    )
    params = params_of(served)
    assert (params.temperature, params.top_k, params.top_p, params.seed) == (0.5, 7, 0.8, 3)
    assert (params.frequency_penalty, params.presence_penalty) == (0.1, 0.2)
    assert (params.max_tokens, params.stop) == (9, ("x",))
    written(served, "yes", p=0)
    assert params_of(served).top_k == 1


def test_what_is_not_acted_on_is_named(client: httpx.Client) -> None:
    body = {"safety_mode": "STRICT", "citation_options": {"mode": "FAST"}, "nonsense": 1}
    answer = client.post(PATH, json={"messages": ASK, **body, "thinking": {"type": "enabled"}})
    names = answer.headers["x-openllm-ignored"].split(", ")
    assert names == ["safety_mode", "citation_options", "nonsense", "thinking"]
    quiet = {"safety_mode": "OFF", "citation_options": {"mode": "OFF"}}
    assert "x-openllm-ignored" not in client.post(PATH, json={"messages": ASK, **quiet}).headers


@pytest.mark.parametrize("name", ["json_schema", "schema"])
def test_a_json_object_and_its_schema(served: Served, name: str) -> None:
    written(served, "{}", response_format={"type": "json_object"})
    assert params_of(served).structure.kind is StructureKind.GRAMMAR  # after a thought
    written(served, "{}", response_format={"type": "json_object", name: CITY})
    assert "city" in params_of(served).structure.value
    written(served, "{}", response_format={"type": "text"})
    assert params_of(served).structure is None
    assert "json_object" in refused(served[1], response_format={"type": "text", name: CITY})


def test_documents_are_told(served: Served) -> None:
    documents = ["Plain.", {"id": "a", "data": {"title": "T", "rows": [1, 2]}}, {"data": "Text."}]
    written(served, "yes", documents=documents)
    prompt = served[0].last_prompt()
    assert all(text in prompt for text in ("Plain.", "T", "[1,2]", "Text."))
    assert "documents[0].data" in refused(served[1], documents=[{"data": {}}])
    assert "documents[0]" in refused(served[1], documents=[1])


# Tools and thoughts.


def test_a_call_and_the_plan_before_it(served: Served) -> None:
    script = "<think>I look.</think>\n" + CALL
    message = written(served, script, tools=[TOOL])["message"]
    assert list(message) == ["role", "tool_plan", "tool_calls"]
    assert message["tool_plan"] == "I look."
    [call] = message["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    found = events(served[1], tools=[TOOL])
    kinds = list(dict.fromkeys(event["type"] for event in found))
    calls = ["tool-call-start", "tool-call-delta", "tool-call-end"]
    assert kinds == ["message-start", "tool-plan-delta", *calls, "message-end"]
    assert found[-1]["delta"]["finish_reason"] == "TOOL_CALL"


def test_two_calls_are_streamed_one_after_the_other(served: Served) -> None:
    served[0].backend.script = CALL + "\n" + CALL
    found = events(served[1], tools=[TOOL])
    wanted = [("tool-call-start", 0), ("tool-call-end", 0), ("tool-call-start", 1)]
    assert [
        (event["type"], event["index"])
        for event in found
        if event["type"] in ("tool-call-start", "tool-call-end")
    ] == [*wanted, ("tool-call-end", 1)]


def test_thoughts_that_are_asked_for_are_content(served: Served) -> None:
    thinking = {"type": "enabled"}
    answer = written(served, "<think>Warm.</think>Yes.", thinking=thinking, tools=[TOOL])
    content = [{"type": "thinking", "thinking": "Warm."}, {"type": "text", "text": "Yes."}]
    assert answer["message"]["content"] == content
    assert contents(events(served[1], thinking=thinking, tools=[TOOL])) == content
    assert written(served, "<think>Warm.</think>Yes.")["message"]["content"] == content


def test_thinking_is_switched_off(served: Served) -> None:
    written(served, "yes", thinking={"type": "disabled"})
    assert served[0].last_prompt().endswith("<think></think>")
    assert "thinking.type" in refused(served[1], thinking={"token_budget": 3})


def test_what_is_wanted_of_the_tools(served: Served) -> None:
    written(served, CALL, tools=[TOOL], tool_choice="REQUIRED")
    assert params_of(served).structure is not None
    written(served, CALL, tools=[TOOL], strict_tools=True)
    assert params_of(served).structure is not None
    written(served, CALL, tools=[TOOL])
    assert params_of(served).structure is None
    answer = written(served, "no", tools=[TOOL], tool_choice="NONE")
    assert answer["message"]["content"][0]["text"] == "no"
    assert "TOOLS" not in served[0].last_prompt()
    assert "needs tools" in refused(served[1], tool_choice="REQUIRED")
    assert "tool_choice" in refused(served[1], tools=[TOOL], tool_choice="maybe")


def test_a_conversation_with_results(served: Served) -> None:
    call = {"id": "c0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    documents = [
        {"type": "document", "document": {"data": {"text": "warm"}, "id": "0"}},
        {"type": "document", "document": {"data": {"degrees": 30}}},
        {"type": "text", "text": "dry"},
    ]
    messages = [
        {"role": "system", "content": "Be short."},
        *ASK,
        {"role": "assistant", "tool_plan": "I look.", "tool_calls": [call], "citations": []},
        {"role": "tool", "tool_call_id": "c0", "content": documents},
        {"role": "tool", "tool_call_id": "c0", "content": "plain"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    written(served, "yes", messages=messages)
    wanted = (
        "<|system|>Be short.<|user|>hello world<|assistant|><think>I look.</think>"
        "<tool_call>weather {}</tool_call>"
        '<|tool|>warm\n{"degrees":30}\ndry<|tool|>plain<|assistant|><think>Hm.</think>'
        "<|user|>And?<|assistant|>"
    )
    assert served[0].last_prompt().replace(" ", "") == wanted.replace(" ", "")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "CHATBOT", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"k": -7}, "k"),
        ({"p": 2}, "p"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"raw_prompting": True}, "raw_prompting"),
    ],
)
def test_what_is_wrong_is_named(client: httpx.Client, body: Any, named: str) -> None:
    assert named in refused(client, **body)


def test_a_stream_that_fails_ends_with_why() -> None:
    last = COHERE.last_words(tell(EngineError("It broke."), COHERE))
    event, end = last.decode().split("\n\n")[:2]
    assert json.loads(event.partition("data: ")[2])["delta"]["finish_reason"] == "ERROR"
    assert "It broke." in event
    assert end == "data: [DONE]"
