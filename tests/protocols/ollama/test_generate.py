"""/api/chat and /api/generate: lines of JSON, the last one with counts and times; options, thoughts
and calls of tools in Ollama's words.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from openllm.types import StructureKind
from tests.scripted import Scripted

CHAT, GENERATE = "/api/chat", "/api/generate"
ASK: Any = [{"role": "user", "content": "hello world"}]
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
Served = tuple[Scripted, httpx.Client]


def lines(client: httpx.Client, path: str, **body: Any) -> list[Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def whole(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json={**body, "stream": False})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def written(served: Served, script: str, path: str = CHAT, **body: Any) -> Any:
    served[0].backend.script = script
    return whole(served[1], path, **({"messages": ASK} if path == CHAT else {}), **body)


def params_of(served: Served) -> Any:
    return served[0].backend.requests[-1].params


# The two forms of an answer.


def test_a_chat_is_streamed_unless_it_says_otherwise(client: httpx.Client) -> None:
    found = lines(client, CHAT, model="echo", messages=ASK)
    answer = whole(client, CHAT, model="echo:latest", messages=ASK)
    assert "".join(line["message"]["content"] for line in found) == answer["message"]["content"]
    assert all(line["message"]["role"] == "assistant" for line in found)
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    assert (found[0]["model"], answer["model"]) == ("echo", "echo:latest")
    for last in (found[-1], answer):
        assert last["done_reason"] == "stop"
        assert last["prompt_eval_count"] > 0
        assert last["eval_count"] > 0
        assert last["total_duration"] >= last["eval_duration"] + last["prompt_eval_duration"] > 0


def test_generate_has_its_text_in_response(client: httpx.Client) -> None:
    found = lines(client, GENERATE, prompt="hello world", raw=True)
    answer = whole(client, GENERATE, prompt="hello world", raw=True)
    assert "".join(line["response"] for line in found) == answer["response"] == "hello world"
    assert "message" not in answer
    assert found[-1]["eval_count"] == answer["eval_count"]


def test_a_prompt_is_a_turn_of_a_chat_unless_it_is_raw(scripted: Served) -> None:
    written(scripted, "hi", GENERATE, prompt="hello", system="Be brief.")
    assert scripted[0].last_prompt() == "<|system|>Be brief.<|user|>hello<|assistant|>"
    written(scripted, "hi", GENERATE, prompt="hello", system="Be brief.", raw=True)
    assert scripted[0].last_prompt().endswith("hello")
    assert "<|" not in scripted[0].last_prompt()


@pytest.mark.parametrize("body", [{"messages": []}, {}])
def test_nothing_to_answer_asks_for_the_model_to_be_loaded(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    for path, key in ((CHAT, "message"), (GENERATE, "response")):
        answer = client.post(path, json={"model": "echo", "keep_alive": "5m", **body}).json()
        assert (answer["done"], answer["done_reason"]) == (True, "load")
        assert key in answer


def test_the_length_ends_an_answer(client: httpx.Client) -> None:
    found = lines(client, CHAT, messages=ASK, options={"num_predict": 2})
    assert found[-1]["done_reason"] == "length"
    assert found[-1]["eval_count"] == 2


# What is taken.


def test_options_are_sampling_parameters(scripted: Served) -> None:
    options = {
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.9,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "num_predict": 40,
        "stop": ["x", ""],
        "num_thread": 4,
        "mirostat": 0,
    }
    written(scripted, "hi", options=options)
    params = params_of(scripted)
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.5, 3, 0.9, 0.1)
    assert (params.repetition_penalty, params.presence_penalty) == (1.2, 0.1)
    assert (params.frequency_penalty, params.seed, params.max_tokens) == (0.2, 7, 40)
    assert params.stop == ("x",)


def test_what_ollama_writes_for_nothing_is_nothing(scripted: Served) -> None:
    written(scripted, "hi", options={"num_predict": -1, "seed": -1, "top_p": 0}, format="")
    params = params_of(scripted)
    assert (params.seed, params.top_k, params.structure) == (None, 1, None)
    assert params.max_tokens > 100


def test_what_is_not_acted_on_is_named(client: httpx.Client, strict_client: httpx.Client) -> None:
    body = {
        "messages": ASK,
        "stream": False,
        "options": {"num_ctx": 4096, "mirostat": 2, "num_gpu": 1},
        "think": True,
    }
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200
    named = answer.headers["x-openllm-ignored"].split(", ")
    assert sorted(named) == ["options.mirostat", "options.num_ctx", "think"]
    refused = strict_client.post(CHAT, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("options.num_ctx is not supported.")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CHAT, {"messages": ASK, "options": {"temperature": 3}}, "options.temperature"),
        (CHAT, {"messages": ASK, "options": {"repeat_penalty": 0}}, "options.repeat_penalty"),
        (CHAT, {"messages": ASK, "options": []}, "options"),
        (CHAT, {"messages": ASK, "format": "xml"}, "format"),
        (CHAT, {"messages": ASK, "think": 1}, "think"),
        (CHAT, {"messages": ASK, "top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"messages": [{"role": "king"}]}, "messages[0].role"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": "a", "images": ["aaaa"]}]},
            "messages[0].images[0]: the model",
        ),
        (GENERATE, {"prompt": "a", "images": ["aaaa"]}, "images[0]: the model"),
        (GENERATE, {"prompt": "a", "images": ["aaaa"], "raw": True}, "images"),
        (GENERATE, {"prompt": "a", "images": [1]}, "images[0]"),
        (GENERATE, {"prompt": "a", "suffix": "b"}, "suffix"),
        (GENERATE, {"prompt": "a", "template": "{{ .Prompt }}"}, "template"),
        (GENERATE, {"prompt": "a", "context": [1, 2]}, "context"),
        (GENERATE, {"prompt": 1}, "prompt"),
        (GENERATE, {"prompt": "hello " * 600, "raw": True}, "context length"),
        (GENERATE, {"prompt": "a", "format": "json"}, "follow a structure"),
    ],
)
def test_what_cannot_be_is_said_in_ollamas_shape(
    client: httpx.Client, path: str, body: dict[str, Any], named: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert named in answer.json()["error"]


def test_a_model_that_is_not_there_is_a_404(client: httpx.Client) -> None:
    answer = client.post(CHAT, json={"model": "nope:latest", "messages": ASK})
    assert answer.status_code == 404
    assert "'nope'" in answer.json()["error"]


def test_format_is_a_structure(scripted: Served) -> None:
    written(scripted, "{}", GENERATE, prompt="a", raw=True, format="json")
    assert params_of(scripted).structure.kind is StructureKind.JSON_OBJECT
    written(scripted, "{}", GENERATE, prompt="a", raw=True, format=CITY)
    structure = params_of(scripted).structure
    assert structure.kind is StructureKind.JSON_SCHEMA
    assert json.loads(structure.value) == CITY


def test_logprobs_stand_beside_the_text(client: httpx.Client) -> None:
    asked = {"prompt": "hello world", "raw": True, "logprobs": True, "top_logprobs": 2}
    answer = whole(client, GENERATE, **asked)
    found = lines(client, GENERATE, **asked)
    entries = [entry for line in found for entry in line.get("logprobs", ())]
    assert entries == answer["logprobs"]
    assert len(entries) == answer["eval_count"]
    assert set(entries[0]) == {"token", "logprob", "bytes", "top_logprobs"}


# Thoughts and tools.


def test_a_thought_stands_beside_the_answer(scripted: Served) -> None:
    script = "<think>hm, well</think>warm"
    answer = written(scripted, script, think=True)["message"]
    assert (answer["thinking"].strip(), answer["content"].strip()) == ("hm, well", "warm")
    found = lines(scripted[1], CHAT, messages=ASK)
    thought = "".join(line["message"].get("thinking", "") for line in found)
    text = "".join(line["message"]["content"] for line in found)
    assert (thought, text) == (answer["thinking"], answer["content"])


def test_think_reaches_the_template(scripted: Served) -> None:
    written(scripted, "hi", think=False)
    assert scripted[0].last_prompt().endswith("<think></think>")
    for value in (True, "low", None):
        written(scripted, "hi", think=value)
        assert scripted[0].last_prompt().endswith("<|assistant|>")


def test_calls_come_whole_with_their_arguments_as_an_object(scripted: Served) -> None:
    answer = written(scripted, f"I look.\n{CALL}\n{CALL}", tools=TOOLS)
    calls = answer["message"]["tool_calls"]
    assert [call["function"]["index"] for call in calls] == [0, 1]
    assert all(call["function"]["name"] == "weather" for call in calls)
    assert all(call["function"]["arguments"] == {"city": "Rome"} for call in calls)
    assert answer["done_reason"] == "stop"
    found = lines(scripted[1], CHAT, messages=ASK, tools=TOOLS)
    [line] = [line for line in found if "tool_calls" in line["message"]]
    streamed = [call["function"] for call in line["message"]["tool_calls"]]
    assert streamed == [call["function"] for call in calls]
    assert "".join(line["message"]["content"] for line in found).strip() == "I look."


def test_a_call_that_is_cut_short_is_text(scripted: Served) -> None:
    scripted[0].backend.script = CALL
    for most in range(1, 60):
        answer = whole(scripted[1], CHAT, messages=ASK, tools=TOOLS, options={"num_predict": most})
        if answer["done_reason"] == "stop":
            break
        assert "tool_calls" not in answer["message"] or answer["message"]["tool_calls"][0][
            "function"
        ]["arguments"] == {"city": "Rome"}
    assert answer["message"]["tool_calls"]


def test_results_are_matched_to_calls_by_name_and_order(scripted: Served) -> None:
    call: Any = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    messages = [
        *ASK,
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "warm", "tool_name": "weather"},
    ]
    scripted[0].backend.script = "It is warm."
    whole(scripted[1], CHAT, messages=messages, tools=TOOLS)
    prompt = scripted[0].last_prompt()
    assert '<think>hm</think><tool_call>weather {"city": "Rome"}</tool_call><|tool|>warm' in prompt
