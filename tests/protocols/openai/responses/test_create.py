"""Responses through the official client, whole and streamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai.types.responses import Response

from openllm.types import StructureKind
from tests.protocols.conftest import echo_llm
from tests.protocols.openai.responses.conftest import Told, strict, tell
from tests.protocols.openai.test_tools import ROME, ROME_ARGUMENTS, UTC, WEATHER, ZONE
from tests.serving import serve

TOOLS: Any = [
    {"type": "function", "name": name, "description": "d", "parameters": schema}
    for name, schema in (("weather", WEATHER), ("time", ZONE))
]
SCRIPT = f"<think>\nhm\n</think>\n\nI look.\n{ROME}\n{UTC}"


# Whole.


def test_a_response_is_complete(told: Told) -> None:
    response = told.create(
        instructions="Be kind.", metadata={"a": "b"}, max_output_tokens=50, user="me"
    )
    assert response.output_text == "Hi."
    [message] = response.output
    assert (message.role, message.status) == ("assistant", "completed")
    assert (response.status, response.instructions) == ("completed", "Be kind.")
    assert (response.metadata, response.max_output_tokens) == ({"a": "b"}, 50)
    assert (response.model, response.user, response.error) == ("scripted", "me", None)
    assert response.completed_at >= response.created_at
    usage = response.usage
    assert usage.output_tokens > 0
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert "<|system|>Be kind.<|user|>hello<|assistant|>" in told.prompt()


def test_thoughts_texts_and_calls_are_items_in_their_order(told: Told) -> None:
    response = told.create(SCRIPT, tools=TOOLS)
    assert [item.type for item in response.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    thought, message, weather, time = response.output
    assert thought.content[0].text == "hm"
    assert message.content[0].text.strip() == "I look."
    assert (weather.name, weather.arguments) == ("weather", ROME_ARGUMENTS)
    assert time.name == "time"
    assert weather.call_id != time.call_id
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_a_call_alone_has_no_message(told: Told) -> None:
    response = told.create(f"\n\n{ROME}\n", tools=TOOLS)
    assert [item.type for item in response.output] == ["function_call"]


def test_an_answer_of_nothing_is_an_empty_message(told: Told) -> None:
    for script, kinds in (("", ["message"]), ("<think>hm</think>", ["reasoning", "message"])):
        response = told.create(script)
        assert [item.type for item in response.output] == kinds
        assert response.output_text == ""


def test_an_answer_that_is_cut_is_incomplete(told: Told) -> None:
    response = told.create("A long answer.", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert response.usage.output_tokens == 3


def test_text_format_is_kept_to_and_parsed(told: Told) -> None:
    class Zone(pydantic.BaseModel):
        zone: str

    told.writes('{"zone": "UTC"}')
    response = told.client.responses.parse(input="hello", text_format=Zone, model="scripted")
    assert response.output_parsed == Zone(zone="UTC")
    structure = told.scripted.backend.requests[-1].params.structure
    assert structure is not None
    told.create(text={"format": {"type": "json_object"}, "verbosity": "medium"})
    assert told.scripted.backend.requests[-1].params.structure is not None


def test_tools_are_parsed_by_the_clients_own_helper(told: Told) -> None:
    class Ask(pydantic.BaseModel):
        city: str
        unit: str

    told.writes(ROME)
    tools: Any = [openai.pydantic_function_tool(Ask, name="weather")]
    response: Any = told.client.responses.parse(input="hello", tools=tools, model="scripted")
    assert response.output[0].parsed_arguments == Ask(city="Rome", unit="C")
    assert response.tools[0].strict is True


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ("required", "required"),
        ("none", "none"),
        ({"type": "function", "name": "time"}, {"type": "function", "name": "time"}),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "time"}],
            },
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "time"}],
            },
        ),
    ],
)
def test_a_choice_of_tools_is_kept_and_shown(told: Told, choice: Any, shown: Any) -> None:
    response = told.create(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    said = response.tool_choice
    assert (said if isinstance(said, str) else said.to_dict()) == shown
    assert len(response.tools) == 2
    structure = told.scripted.backend.requests[-1].params.structure
    if choice == "none":
        assert structure is None
        assert "TOOLS" not in told.prompt()
    else:
        assert structure is not None
        assert structure.kind is StructureKind.GRAMMAR


def test_parallel_calls_can_be_refused(told: Told) -> None:
    response = told.create(f"{ROME}\n{UTC}", tools=TOOLS, parallel_tool_calls=False)
    assert [item.name for item in response.output] == ["weather"]
    assert response.parallel_tool_calls is False


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_those_of_the_text(told: Told, stream: bool) -> None:
    asked: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    script = f"<think>\nhm\n</think>\n\nI look.\n{ROME}"
    if stream:
        events = told.events(script, tools=TOOLS, **asked)
        response = events[-1].response
        texts = [event for event in events if event.type == "response.output_text.delta"]
        assert sum(len(event.logprobs) for event in texts) > 1
    else:
        response = told.create(script, tools=TOOLS, **asked)
    part = response.output[1].content[0]
    assert "".join(entry.token for entry in part.logprobs).strip() == "I look."
    assert response.top_logprobs == 2


def test_reasoning_effort_reaches_the_template(echo_model: Path, told: Told) -> None:
    for effort in tell(echo_model, "{{ reasoning_effort }}|" + "{{ messages[0].content }}"):
        response = effort.create(reasoning={"effort": "high"})
        assert effort.prompt().startswith("high|")
        assert response.reasoning.effort == "high"
    answer = told.post(reasoning={"effort": "high", "summary": "auto"})
    assert answer.status_code == 200
    assert answer.headers["x-openllm-ignored"] == "reasoning.summary, reasoning.effort"
    told.create(reasoning={"effort": "none"})
    assert told.prompt().endswith("<think></think>")


def test_sampling_is_what_was_asked_for(told: Told) -> None:
    response = told.create(temperature=0.25, top_p=0.5, extra_body={"top_k": 3, "seed": 1})
    params = told.scripted.backend.requests[-1].params
    assert (params.temperature, params.top_p, params.top_k) == (0.25, 0.5, 3)
    assert (response.temperature, response.top_p) == (0.25, 0.5)


# Streamed.


def test_events_come_in_their_order(told: Told) -> None:
    events = told.events(SCRIPT, tools=TOOLS)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    order = [event.type.removeprefix("response.") for event in events]
    thought = ["output_item.added", "content_part.added", "reasoning_text.delta"]
    thought += ["reasoning_text.done", "content_part.done", "output_item.done"]
    text = [name.replace("reasoning_text", "output_text") for name in thought]
    call = ["output_item.added", "function_call_arguments.delta"]
    call += ["function_call_arguments.done", "output_item.done"]
    expected = ["created", "in_progress", *thought, *text, *call, *call, "completed"]
    assert [name for at, name in enumerate(order) if at == 0 or order[at - 1] != name] == expected


def test_a_stream_is_the_whole_answer(told: Told) -> None:
    def texts(response: Any) -> list[Any]:
        return [
            item.model_dump(exclude={"id", "call_id"}, exclude_none=True)
            for item in response.output
        ]

    events = told.events(SCRIPT, tools=TOOLS)
    assert texts(events[-1].response) == texts(told.create(SCRIPT, tools=TOOLS))
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == events[-1].response.output
    deltas: dict[str, str] = {}
    for event in events:
        if event.type.endswith(".delta"):
            deltas[event.item_id] = deltas.get(event.item_id, "") + event.delta
    assert list(deltas) == [item.id for item in done]
    assert list(deltas.values()) == [
        item.arguments if item.type == "function_call" else item.content[0].text for item in done
    ]
    assert {event.item_id for event in events if hasattr(event, "item_id")} == set(deltas)


def test_the_clients_own_helper_puts_a_stream_together(told: Told) -> None:
    told.writes(SCRIPT)
    with told.client.responses.stream(input="hello", tools=TOOLS, model="scripted") as stream:
        snapshots = [
            event.snapshot for event in stream if event.type == "response.output_text.delta"
        ]
        final = stream.get_final_response()
    assert snapshots[-1].strip() == "I look."
    assert [item.type for item in final.output][-1] == "function_call"


def test_a_stream_that_is_cut_ends_incomplete(told: Told) -> None:
    events = told.events("A long answer.", max_output_tokens=3)
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"
    [done] = [event for event in events if event.type == "response.output_item.done"]
    assert done.item.status == "incomplete"


def test_frames_name_their_event_and_have_no_mark_at_the_end(told: Told) -> None:
    told.writes("Hi.")
    text = told.post(stream=True).text
    frames = text.strip().split("\n\n")
    for frame in frames:
        name, data = frame.split("\n")
        kind = httpx.Response(200, text=data.removeprefix("data: ")).json()["type"]
        assert name == f"event: {kind}"
    assert "[DONE]" not in text


def test_a_stream_that_fails_says_so(echo_model: Path) -> None:
    dying = echo_llm(echo_model, engine_args={"die_after": 20})
    with serve(dying) as running, running.client() as http:
        body = {"input": "word " * 90, "stream": True}
        frames = http.post("/v1/responses", json=body).text.strip().split("\n\n")
        events = [json.loads(frame.partition("data: ")[2]) for frame in frames]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    error, failed = events[-2:]
    assert (error["type"], error["code"]) == ("error", "engine_dead")
    assert error["message"] == error["error"]["message"]
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    [message] = failed["response"]["output"]
    assert message["status"] == "incomplete"
    assert Response.model_validate(failed["response"]).error is not None


def test_the_client_raises_what_a_stream_fails_with(echo_model: Path) -> None:
    dying = echo_llm(echo_model, engine_args={"die_after": 20})
    with serve(dying) as running, strict(running) as client, pytest.raises(openai.APIError):
        list(client.responses.create(input="word " * 90, stream=True))


def test_errors_have_openais_shape_and_names(client: httpx.Client) -> None:
    """The echo engine follows no structure."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{**TOOLS[0], "strict": True}]}, "tools[].strict"),
        ({"input": "a " * 600}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ]
    for body, param in cases:
        answer = client.post("/v1/responses", json={"input": "hello", **body})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# Where all does not fit.


def test_the_earliest_turns_can_be_left_out(client: httpx.Client) -> None:
    turns = [{"role": "system", "content": "Be kind."}]
    for at in range(60):
        turns += [
            {"role": "user", "content": f"question number {at}"},
            {"role": "assistant", "content": f"answer number {at}"},
        ]
    turns.append({"role": "user", "content": "the last one"})
    body: dict[str, Any] = {"input": turns}
    error = client.post("/v1/responses", json=body).json()["error"]
    assert error["code"] == "context_length_exceeded"
    count = client.post("/v1/responses/input_tokens", json=body).json()
    assert count["object"] == "response.input_tokens"
    assert count["input_tokens"] > 512
    cut = {**body, "truncation": "auto"}
    answer = client.post("/v1/responses", json=cut).json()
    assert answer["truncation"] == "auto"
    assert 256 < answer["usage"]["input_tokens"] <= 384
    counted = client.post("/v1/responses/input_tokens", json=cut).json()["input_tokens"]
    assert counted == answer["usage"]["input_tokens"]


def test_what_cannot_be_cut_is_refused(client: httpx.Client) -> None:
    body = {"input": "a " * 600, "truncation": "auto"}
    error = client.post("/v1/responses", json=body).json()["error"]
    assert error["code"] == "context_length_exceeded"
