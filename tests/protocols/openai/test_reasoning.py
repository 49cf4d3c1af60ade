"""Thoughts through the official client: told apart from the answer, counted, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.protocols.openai.test_tools import (
    ASK,
    ROME,
    TEMPLATE,
    TOOLS,
    ZONE,
    allows,
    calls_of,
    grammar_of,
    streamed,
    written,
)
from tests.scripted import Scripted
from tests.serving import Running, serve

EFFORT = "{{ reasoning_effort }}|" + TEMPLATE


@pytest.fixture(scope="module")
def scripted(echo_model: Path) -> Iterator[tuple[Scripted, Running]]:
    found = Scripted(echo_model, TEMPLATE)
    with serve(found.llm) as running:
        yield found, running


@pytest.fixture(scope="module")
def opened(echo_model: Path) -> Iterator[tuple[Scripted, Running]]:
    """A model whose template opens the thought in the prompt, and takes an effort."""
    found = Scripted(echo_model, EFFORT + "<think>")
    with serve(found.llm) as running:
        yield found, running


def test_a_thought_is_no_content(scripted: tuple[Scripted, Running]) -> None:
    message = written(scripted, "<think>\nIt is hot.\n</think>\n\nStay in.").message
    assert message.content == "Stay in."
    assert message.reasoning_content == message.reasoning == "It is hot."


def test_an_answer_without_a_thought_has_none(scripted: tuple[Scripted, Running]) -> None:
    message = written(scripted, "Stay in.").message
    assert message.content == "Stay in."
    assert not hasattr(message, "reasoning_content")


def test_a_stream_tells_the_thought_first(scripted: tuple[Scripted, Running]) -> None:
    chunks = streamed(scripted, "<think>It is hot.</think>Stay in.")
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thought = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    same = [getattr(delta, "reasoning", None) or "" for delta in deltas]
    text = [delta.content or "" for delta in deltas]
    assert ("".join(thought), "".join(text)) == ("It is hot.", "Stay in.")
    assert thought == same
    last_thought = max(at for at, piece in enumerate(thought) if piece)
    assert last_thought < min(at for at, piece in enumerate(text) if piece)


def test_a_thought_that_the_prompt_has_opened(opened: tuple[Scripted, Running]) -> None:
    message = written(opened, "It is hot.</think>Stay in.").message
    assert (message.content, message.reasoning_content) == ("Stay in.", "It is hot.")
    message = written(opened, "It is hot.").message
    assert (message.content, message.reasoning_content) == ("", "It is hot.")


@pytest.mark.parametrize("stream", [False, True])
def test_the_tokens_of_a_thought_are_counted(
    scripted: tuple[Scripted, Running], stream: bool
) -> None:
    found, running = scripted
    tokenizer = found.llm.tokenizer
    thought = "<think>It is hot.</think>"
    found.backend.script = thought + "Stay in."
    with running.client() as client:
        body: dict[str, Any] = {"messages": ASK}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            lines = client.post("/v1/chat/completions", json=body).text.split("\n\n")
            usage = httpx.Response(200, text=lines[-3].removeprefix("data: ")).json()["usage"]
        else:
            usage = client.post("/v1/chat/completions", json=body).json()["usage"]
    counted = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < counted <= len(tokenizer.encode(thought, add_special_tokens=False))
    assert counted < usage["completion_tokens"]


def test_a_call_after_a_thought(scripted: tuple[Scripted, Running]) -> None:
    script = f"<think>A tool.</think>\n\n{ROME}"
    choice = written(scripted, script, tools=TOOLS)
    assert choice.message.reasoning_content == "A tool."
    assert choice.message.content is None
    assert choice.message.tool_calls[0].function.name == "weather"
    assert calls_of(streamed(scripted, script, tools=TOOLS))[0][0] == "weather"


def test_stop_strings_are_looked_for_after_the_thought(
    scripted: tuple[Scripted, Running],
) -> None:
    choice = written(scripted, "<think>hot or not</think>It is hot.", stop="hot")
    assert choice.message.reasoning_content == "hot or not"
    assert choice.message.content == "It is "


def test_grammars_begin_after_the_thought(
    scripted: tuple[Scripted, Running], opened: tuple[Scripted, Running]
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "z", "schema": ZONE}}
    written(scripted, '{"zone": "UTC"}', response_format=form)
    grammar = grammar_of(scripted)
    assert allows(grammar, '{"zone": "UTC"}')
    assert allows(grammar, '<think>\nhm</think>\n\n{"zone": "UTC"}')
    assert not allows(grammar, "<think>\nhm</think>hm")
    written(opened, "x", tools=TOOLS, tool_choice="required")
    grammar = grammar_of(opened)
    assert allows(grammar, f"hm\n</think>\n\n{ROME}")
    assert not allows(grammar, ROME)


@pytest.mark.parametrize(
    "earlier",
    [
        {"reasoning_content": "hm", "content": "a"},
        {"reasoning": "hm", "content": "a"},
        {"thinking": "hm", "content": "a"},
        {"reasoning_content": "hm", "reasoning": "hm", "thinking_blocks": [{}], "content": "a"},
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]},
        {"content": [{"thinking": "hm", "signature": "s"}, {"text": "a"}]},
    ],
)
def test_earlier_thoughts_reach_the_template_under_every_name(
    scripted: tuple[Scripted, Running], earlier: dict[str, Any]
) -> None:
    messages = [*ASK, {"role": "assistant", **earlier}, *ASK]
    written(scripted, "hi", messages)
    assert "<|assistant|>a<think>hm</think>" in scripted[0].last_prompt()


def test_thinking_can_be_left_out(scripted: tuple[Scripted, Running]) -> None:
    for asked in (
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"reasoning_effort": "none"},
    ):
        written(scripted, "hi", **asked)
        assert scripted[0].last_prompt().endswith("<think></think>")


def test_the_operator_says_what_a_template_is_given_and_a_request_goes_first(
    echo_model: Path,
) -> None:
    defaults = {"enable_thinking": False, "reasoning_effort": "low"}
    scripted = Scripted(echo_model, EFFORT, template_kwargs=defaults, reasoning_format="none")
    with serve(scripted.llm) as running:
        message = written((scripted, running), "<think>hm</think>Hi.").message
        assert message.content == "<think>hm</think>Hi."  # the thought is told to be text
        assert scripted.last_prompt().startswith("low|")
        assert scripted.last_prompt().endswith("<think></think>")
        asked = {"enable_thinking": True, "reasoning_effort": None}
        written((scripted, running), "hi", extra_body={"chat_template_kwargs": asked})
        assert scripted.last_prompt().startswith("low|")
        assert scripted.last_prompt().endswith("<|assistant|>")


def test_an_effort_reaches_a_template_that_asks_for_it(
    scripted: tuple[Scripted, Running], opened: tuple[Scripted, Running]
) -> None:
    written(opened, "hi", reasoning_effort="high")
    assert opened[0].last_prompt().startswith("high|")
    found, running = scripted
    found.backend.script = "hi"
    with running.client() as client:
        body = {"messages": ASK, "reasoning_effort": "high"}
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-openllm-ignored"] == "reasoning_effort"
