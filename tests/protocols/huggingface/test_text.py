"""/generate, /generate_stream and POST /: TGI's bodies, whole answers and streams of tokens."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from openllm.types import StructureKind
from tests.scripted import Scripted
from tests.tiny import BOS

TEXT = "hello world, how do I build it?"
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}}
Served = tuple[Scripted, httpx.Client]


def whole(client: httpx.Client, **parameters: Any) -> Any:
    answer = client.post("/generate", json={"inputs": TEXT, "parameters": parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def streamed(client: httpx.Client, path: str = "/generate_stream", **parameters: Any) -> list[Any]:
    body = {"inputs": TEXT, "parameters": parameters, "stream": True}
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(event[6:]) for event in answer.text.split("\n\n") if event]


def params_of(served: Served, **parameters: Any) -> Any:
    served[0].backend.script = "hi"
    whole(served[1], **parameters)
    return served[0].backend.requests[-1].params


# The forms of an answer.


def test_a_whole_answer_is_its_text(client: httpx.Client) -> None:
    assert whole(client) == {"generated_text": TEXT}
    assert whole(client, return_full_text=True) == {"generated_text": TEXT + TEXT}


def test_the_root_answers_with_a_list_or_a_stream(client: httpx.Client) -> None:
    assert client.post("/", json={"inputs": TEXT}).json() == [{"generated_text": TEXT}]
    assert streamed(client, "/")[-1]["generated_text"] == TEXT


@pytest.mark.parametrize("details", [False, True])
def test_a_stream_has_an_event_per_token_and_the_text_in_the_last(
    client: httpx.Client, details: bool
) -> None:
    events = streamed(client, details=details)
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
    assert "".join(event["token"]["text"] for event in events) == TEXT
    assert all(event["generated_text"] is None for event in events[:-1])
    last = events[-1]
    assert last["generated_text"] == TEXT
    logprobs = [event["token"]["logprob"] for event in events]
    assert all((logprob is not None) == details for logprob in logprobs)
    if not details:
        assert last["details"] is None
        return
    assert last["details"]["finish_reason"] == "eos_token"
    assert last["details"]["generated_tokens"] == len(events)
    assert last["details"]["input_length"] > 0


def test_details_have_the_tokens(client: httpx.Client) -> None:
    found = whole(client, details=True, decoder_input_details=True, top_n_tokens=2)
    details = found["details"]
    assert details["generated_tokens"] == len(details["tokens"]) == len(details["top_tokens"])
    assert all(1 <= len(top) <= 2 for top in details["top_tokens"])
    ordinary = [token["text"] for token in details["tokens"] if not token["special"]]
    assert "".join(ordinary) == found["generated_text"]
    assert details["prefill"][0]["logprob"] is None
    assert all(token["logprob"] is not None for token in details["prefill"][1:])
    events = streamed(client, details=True, top_n_tokens=2)
    assert [event["token"]["id"] for event in events] == [item["id"] for item in details["tokens"]]
    assert [event["top_tokens"] for event in events] == details["top_tokens"]


def test_how_an_answer_ends(client: httpx.Client) -> None:
    cut = whole(client, details=True, max_new_tokens=2)
    assert (cut["details"]["finish_reason"], cut["details"]["generated_tokens"]) == ("length", 2)
    stopped = whole(client, details=True, stop=["world"])
    assert stopped["details"]["finish_reason"] == "stop_sequence"
    assert stopped["generated_text"] == "hello world"  # with the stop sequence, as TGI has it
    assert streamed(client, stop=["world"])[-1]["generated_text"] == "hello world"


# What is taken.


def test_an_answer_is_greedy_unless_something_says_otherwise(scripted: Served) -> None:
    assert params_of(scripted).temperature == 0
    assert params_of(scripted, do_sample=True).temperature > 0
    assert params_of(scripted, temperature=0.5).temperature == 0.5
    assert params_of(scripted, top_p=0.5).temperature > 0
    assert params_of(scripted, top_p=1.0, temperature=1).temperature == 0


def test_parameters_are_sampling_parameters(scripted: Served) -> None:
    params = params_of(
        scripted,
        top_k=3,
        top_p=0.9,
        repetition_penalty=1.2,
        frequency_penalty=0.1,
        seed=7,
        stop=["x"],
    )
    assert (params.top_k, params.top_p, params.repetition_penalty) == (3, 0.9, 1.2)
    assert (params.frequency_penalty, params.seed, params.stop) == (0.1, 7, ("x",))
    assert params.max_tokens == 100


@pytest.mark.parametrize(
    ("grammar", "kind"),
    [
        ({"type": "json", "value": SCHEMA}, StructureKind.JSON_SCHEMA),
        ({"type": "json", "value": json.dumps(SCHEMA)}, StructureKind.JSON_SCHEMA),
        (
            {"type": "json_schema", "value": {"name": "a", "schema": SCHEMA}},
            StructureKind.JSON_SCHEMA,
        ),
        ({"type": "regex", "value": "a+"}, StructureKind.REGEX),
    ],
)
def test_a_grammar_is_a_structure(scripted: Served, grammar: Any, kind: StructureKind) -> None:
    structure = params_of(scripted, grammar=grammar).structure
    assert structure.kind is kind
    if kind is StructureKind.JSON_SCHEMA:
        assert json.loads(structure.value) == SCHEMA


def test_truncate_keeps_the_end_of_the_prompt(scripted: Served) -> None:
    params_of(scripted, truncate=3)
    ids = scripted[0].backend.requests[-1].prompt_token_ids
    assert ids == [BOS, *scripted[0].llm.renderer.encode(TEXT)[-2:]]


def test_the_end_of_a_sequence_is_a_special_token_without_text(scripted: Served) -> None:
    scripted[0].backend.script = "hi"
    last = streamed(scripted[1])[-1]
    assert (last["token"]["text"], last["token"]["special"]) == ("", True)
    assert last["generated_text"] == "hi"


def test_what_is_not_acted_on_is_named(client: httpx.Client) -> None:
    parameters = {"watermark": True, "typical_p": 0.9, "best_of": 1}
    answer = client.post("/generate", json={"inputs": TEXT, "parameters": parameters})
    named = answer.headers["x-openllm-ignored"].split(", ")
    assert sorted(named) == ["parameters.typical_p", "parameters.watermark"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"best_of": 2}, "parameters.best_of"),
        ({"temperature": -1}, "parameters.temperature"),
        ({"max_new_tokens": 0}, "parameters.max_new_tokens"),
        ({"grammar": {"type": "xml", "value": "a"}}, "parameters.grammar.type"),
        ({"grammar": {"type": "json"}}, "parameters.grammar.value"),
        ({"grammar": {"type": "regex", "value": "a"}}, "follow a structure"),
        ({"stop": [1]}, "parameters.stop"),
        ({"truncate": 0}, "parameters.truncate"),
    ],
)
def test_what_cannot_be_is_a_422_in_tgis_shape(
    client: httpx.Client, parameters: dict[str, Any], named: str
) -> None:
    answer = client.post("/generate", json={"inputs": TEXT, "parameters": parameters})
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "validation"
    assert named in answer.json()["error"]


def test_the_fields_beside_the_parameters_are_checked_too(client: httpx.Client) -> None:
    assert "inputs is required." in client.post("/generate", json={}).json()["error"]
    long = client.post("/generate", json={"inputs": "hello " * 600}).json()
    assert "context length" in long["error"]
    missing = client.post("/generate", json={"inputs": "a", "parameters": {"adapter_id": "no"}})
    assert missing.status_code == 404
    stream = {"inputs": "a", "parameters": {"decoder_input_details": True}}
    refused = client.post("/generate_stream", json=stream)
    assert "parameters.decoder_input_details" in refused.json()["error"]


def test_chat_takes_their_placeholder_and_their_schema(scripted: Served) -> None:
    scripted[0].backend.script = '{"a": "b"}'
    body: Any = {
        "model": "dummy",
        "messages": [{"role": "user", "content": "hi"}],
        "chat_template_kwargs": {"enable_thinking": False},
        "response_format": {"type": "json_object", "value": SCHEMA},
    }
    answer = scripted[1].post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == "scripted"
    structure = scripted[0].backend.requests[-1].params.structure
    assert structure is not None
    assert '"a"' in structure.value or '\\"a\\"' in structure.value
    refused = scripted[1].post("/v1/chat/completions", json={**body, "model": "nope"})
    assert refused.status_code == 404
