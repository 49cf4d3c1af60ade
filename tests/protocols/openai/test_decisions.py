"""/v1/decisions: predicates, choices and scores in the vendor's shape, by an engine to which every
answer is as likely.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.scripted import Scripted

TRUE: Any = {"type": "predicate", "name": "warm", "instructions": "It is warm."}
KIND: Any = {
    "type": "choice",
    "instructions": [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_json", "data": {"hint": "a box"}},
    ],
    "choices": [{"value": "true"}, {"value": True, "description": "a fact"}],
}
GRADE: Any = {
    "type": "score",
    "name": None,
    "instructions": "How warm is it?",
    "levels": [{"label": "cold"}, {"label": "mild"}, {"label": "hot", "description": "too much"}],
}


def ask(client: httpx.Client, path: str = "/v1/decisions", **body: Any) -> httpx.Response:
    return client.post(path, json={"input": "The sun shines.", "questions": [TRUE], **body})


@pytest.fixture
def even(scripted: tuple[Scripted, httpx.Client]) -> tuple[Scripted, httpx.Client]:
    scripted[0].backend.script = "A"
    return scripted


def test_every_kind_of_question(even: tuple[Scripted, httpx.Client]) -> None:
    answer = ask(even[1], questions=[TRUE, KIND, GRADE])
    assert answer.status_code == 200, answer.text
    assert "x-openllm-ignored" not in answer.headers
    found = answer.json()
    predicate, choice, score = found["answers"]
    assert predicate == {"type": "predicate", "name": "warm", "probability": pytest.approx(0.5)}
    assert (choice["type"], choice["name"], choice["confidence"]) == ("choice", None, 0.5)
    values = [entry["value"] for entry in choice["probabilities"]]
    assert values == ["true", True]
    assert type(values[1]) is bool
    assert choice["choice"] in values
    assert score["score"] == pytest.approx(1.0)  # of levels from 0
    labels = [(entry["value"], entry["label"]) for entry in score["probabilities"]]
    assert labels == [(0, "cold"), (1, "mild"), (2, "hot")]
    assert sum(entry["probability"] for entry in score["probabilities"]) == pytest.approx(1)
    usage = found["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert set(usage["input_tokens_details"]) == {"cached_tokens", "cache_write_tokens"}


def test_the_model_reads_the_input_and_the_answers(even: tuple[Scripted, httpx.Client]) -> None:
    scripted, client = even
    assert ask(client, "/decisions", questions=[KIND]).status_code == 200
    prompt = scripted.last_prompt().replace(" ", "")
    lines = ["Thesunshines.", "Whatisit?", '{"hint":"abox"}', "A)true", "B)true:afact"]
    places = [prompt.index(line) for line in lines]
    assert places == sorted(places)
    assert prompt.endswith("<|assistant|><think></think>")


def test_turns_calls_and_results_are_read(even: tuple[Scripted, httpx.Client]) -> None:
    scripted, client = even
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_json", "data": [{"city": "Rome"}]}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "22 degrees"},
        {"role": "assistant", "content": "Warm.", "phase": "final_answer"},
    ]
    point = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    turns[1]["content"].append({"type": "input_text", "text": "So?", **point})
    options = {"mode": "implicit", "ttl": "30m"}
    answer = ask(client, input=turns, prompt_cache_options=options, safety_identifier="me")
    assert answer.status_code == 200, answer.text
    assert "x-openllm-ignored" not in answer.headers
    prompt = scripted.last_prompt().replace(" ", "")
    for told in ("Bebrief.", '[{"city":"Rome"}]', "weather", "22degrees", "Warm.", "Itiswarm."):
        assert told in prompt


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"questions": None}, "questions"),
        ({"questions": []}, "questions"),
        ({"questions": [TRUE] * 401}, "questions"),
        ({"questions": [{**TRUE, "type": "essay"}]}, "questions[0].type"),
        ({"questions": [{**TRUE, "instructions": " "}]}, "questions[0].instructions"),
        ({"questions": [{**KIND, "choices": [{"value": "a"}]}]}, "questions[0].choices"),
        (
            {"questions": [{**KIND, "choices": [{"value": str(at)} for at in range(256)]}]},
            "questions[0].choices",
        ),
        (
            {"questions": [{**KIND, "choices": [{"value": "a"}, {"value": "a"}]}]},
            "questions[0].choices[1].value",
        ),
        (
            {"questions": [{**KIND, "choices": [{"value": 1}, {"value": "a"}]}]},
            "questions[0].choices[0].value",
        ),
        (
            {"questions": [{**GRADE, "levels": [{"label": True}, {"label": "a"}]}]},
            "questions[0].levels[0].label",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_json", "data": "text"}]}]},
            "input[0].content[0].data",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": "word " * 6000}, "input"),
    ],
)
def test_what_is_wrong_is_named(
    even: tuple[Scripted, httpx.Client], body: dict[str, Any], param: str
) -> None:
    answer = ask(even[1], **body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_an_engine_that_takes_no_single_token_says_so(client: httpx.Client) -> None:
    answer = ask(client)
    assert answer.status_code == 400, answer.text
    assert "echo" in answer.json()["error"]["message"]
