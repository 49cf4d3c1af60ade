"""Hugging Face's InferenceClient, given nothing but an address, against the demo."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs `make test-clients`")
errors = pytest.importorskip("huggingface_hub.errors")

PROMPT = "A Bento is"
ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
MOOD: Any = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(demo: str) -> Any:
    return huggingface_hub.InferenceClient(base_url=demo, timeout=60)


def test_text_whole_and_streamed(client: Any) -> None:
    whole = client.text_generation(PROMPT, max_new_tokens=8)
    pieces = list(client.text_generation(PROMPT, max_new_tokens=8, stream=True))
    assert len(pieces) == 8
    assert "".join(pieces) == whole
    full = client.text_generation(PROMPT, max_new_tokens=8, return_full_text=True)
    assert full == PROMPT + whole


def test_details_whole_and_streamed(client: Any) -> None:
    asked: Any = {"max_new_tokens": 8, "details": True, "top_n_tokens": 2, "seed": 1}
    whole = client.text_generation(PROMPT, **asked, decoder_input_details=True)
    assert whole.details.finish_reason == "length"
    assert whole.details.generated_tokens == len(whole.details.tokens) == 8
    assert whole.details.seed == 1
    assert len(whole.details.prefill) > 1
    assert all(isinstance(token.logprob, float) for token in whole.details.tokens)
    assert all(len(top) == 2 for top in whole.details.top_tokens)
    events = list(client.text_generation(PROMPT, **asked, stream=True))
    assert [event.token.id for event in events] == [token.id for token in whole.details.tokens]
    assert all(len(event.top_tokens) == 2 for event in events)
    assert events[-1].generated_text == whole.generated_text
    assert events[-1].details.finish_reason == "length"
    assert events[-1].details.input_length == len(whole.details.prefill)


@pytest.mark.parametrize(
    "grammar",
    [{"type": "json", "value": MOOD}, {"type": "regex", "value": '\\{"mood": ?"(good|bad)"\\}'}],
)
def test_a_grammar_is_kept(client: Any, grammar: Any) -> None:
    text = client.text_generation(PROMPT, max_new_tokens=60, grammar=grammar)
    assert json.loads(text)["mood"] in ("good", "bad")


def test_everything_that_the_client_may_send(client: Any) -> None:
    text = client.text_generation(
        PROMPT,
        best_of=1,
        do_sample=True,
        frequency_penalty=0.1,
        max_new_tokens=4,
        repetition_penalty=1.1,
        return_full_text=False,
        seed=7,
        stop=["\n\n"],
        temperature=0.7,
        top_k=5,
        top_p=0.9,
        truncate=100,
        typical_p=0.95,
        watermark=True,
    )
    assert isinstance(text, str)


def test_a_chat_whole_and_streamed(client: Any) -> None:
    asked: Any = {"messages": ASK, "max_tokens": 8, "temperature": 0}
    whole = client.chat_completion(**asked)
    assert whole.model == "demo"
    chunks = list(client.chat_completion(**asked, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert client.chat.completions.create(**asked).choices == whole.choices


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "mood", "schema": MOOD, "strict": True}},
        {"type": "json", "value": MOOD},
    ],
)
def test_a_chat_with_a_schema(client: Any, form: Any) -> None:
    answer = client.chat_completion(ASK, max_tokens=60, response_format=form)
    assert json.loads(answer.choices[0].message.content)["mood"] in ("good", "bad")


def test_a_chat_that_has_to_call_a_tool(client: Any) -> None:
    tool: Any = {"type": "function", "function": {"name": "tell", "parameters": MOOD}}
    answer = client.chat_completion(ASK, max_tokens=90, tools=[tool], tool_choice="required")
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "tell"


def test_vectors(client: Any) -> None:
    vectors = client.feature_extraction(["hello", "world"], truncate=True)
    assert vectors.shape[0] == 2
    assert client.feature_extraction("hello", normalize=True).shape == (1, vectors.shape[1])


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(errors.ValidationError, match="best_of"):
        client.text_generation(PROMPT, best_of=2)
    with pytest.raises(errors.ValidationError, match="temperature"):
        list(client.text_generation(PROMPT, temperature=-1, stream=True))


async def _streamed(url: str) -> str:
    client = huggingface_hub.AsyncInferenceClient(base_url=url, timeout=60)
    pieces: AsyncIterator[str] = await client.text_generation(PROMPT, max_new_tokens=8, stream=True)
    return "".join([piece async for piece in pieces])


def test_the_asynchronous_client(demo: str, client: Any) -> None:
    import asyncio

    assert asyncio.run(_streamed(demo)) == client.text_generation(PROMPT, max_new_tokens=8)
