"""Thoughts through the official client: told apart from the answer, counted, and taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from openllm.llm.llm import LLM
from tests.protocols.openai.test_tools import (
    ASK,
    PLAIN,
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
from tests.tiny import write_llama

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


def bounded(
    served: tuple[Scripted, Running], scripts: list[str], stream: bool = False, **asked: Any
) -> tuple[str, str, Any]:
    """The thought and the answer under a budget, and the usage; `scripts`: one for each run."""
    found, running = served
    found.backend.scripts = list(scripts)
    body: Any = {"model": "scripted", "messages": ASK, **asked}
    with running.openai() as client:
        if not stream:
            answer = client.chat.completions.create(**body)
            message: Any = answer.choices[0].message
            return getattr(message, "reasoning", ""), message.content or "", answer.usage
        chunks = list(
            client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
        )
    deltas: list[Any] = [choice.delta for chunk in chunks for choice in chunk.choices]
    thought = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    text = "".join(delta.content or "" for delta in deltas)
    assert sum(bool(choice.finish_reason) for c in chunks for choice in c.choices) == 1
    return thought, text, chunks[-1].usage


LONG = "It is hot, and it is hot, and it is hot, and it is hot, and it is hot, and it is hot."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["thinking_budget", "thinking_token_budget"])
def test_a_thought_that_is_too_long_is_closed(
    opened: tuple[Scripted, Running], stream: bool, name: str
) -> None:
    found, _ = opened
    before = len(found.backend.requests)
    asked: Any = {"extra_body": {name: 6}, "max_tokens": 100, "stop": "hot"}
    thought, text, usage = bounded(opened, [LONG, "Stay in, it is hot."], stream, **asked)
    assert thought
    assert LONG.startswith(thought)
    assert text == "Stay in, it is "
    mark = found.llm.tokenizer.encode("\n</think>", add_special_tokens=False)
    # the last piece of the mark ends the thought
    assert usage.completion_tokens_details.reasoning_tokens == 6 + len(mark) - 1
    first, second = found.backend.requests[before:]
    prompt = found.llm.tokenizer.decode(second.prompt_token_ids)
    assert prompt.endswith(f"<think>{thought}\n</think>\n\n")
    written = len(second.prompt_token_ids) - len(first.prompt_token_ids)
    assert second.params.max_tokens == 100 - written
    assert usage.prompt_tokens == len(first.prompt_token_ids)
    assert second.request_id != first.request_id


def test_a_thought_within_its_budget_is_left_alone(opened: tuple[Scripted, Running]) -> None:
    script = f"{LONG}</think>Stay in. {LONG}"
    for budget in (500, -1, None):
        before = len(opened[0].backend.requests)
        extra = {"thinking_budget": budget}
        assert bounded(opened, [script], extra_body=extra)[:2] == (LONG, f"Stay in. {LONG}")
        assert len(opened[0].backend.requests) == before + 1


def test_no_budget_leaves_no_thought(
    opened: tuple[Scripted, Running], scripted: tuple[Scripted, Running]
) -> None:
    none = {"thinking_budget": 0}
    assert bounded(opened, ["Stay in."], extra_body=none)[:2] == ("", "Stay in.")
    assert opened[0].last_prompt().endswith("<think>\n</think>\n\n")
    assert bounded(opened, ["Stay in."], reasoning_effort="none")[:2] == ("", "Stay in.")
    assert bounded(scripted, ["Stay in."], extra_body=none)[:2] == ("", "Stay in.")
    assert bounded(scripted, ["<think>hm", "Stay in."], extra_body=none)[:2] == ("", "Stay in.")


def test_each_choice_has_a_budget_of_its_own(opened: tuple[Scripted, Running]) -> None:
    found, running = opened
    found.backend.scripts = [LONG, "One.", "Two."]
    with running.openai() as client:
        answer = client.chat.completions.create(
            model="scripted", messages=ASK, n=2, logprobs=True, extra_body={"thinking_budget": 4}
        )
    assert sorted(choice.message.content or "" for choice in answer.choices) == ["One.", "Two."]
    for choice in answer.choices:
        assert LONG.startswith(choice.message.reasoning)  # type: ignore[attr-defined]
        assert choice.finish_reason == "stop"
        assert choice.logprobs is not None
        told = "".join(entry.token for entry in choice.logprobs.content or ())
        assert choice.message.reasoning in told  # type: ignore[attr-defined]
        assert "</think>" in told


def test_a_grammar_is_kept_behind_a_closed_thought(opened: tuple[Scripted, Running]) -> None:
    asked: Any = {"tools": TOOLS, "tool_choice": "required"}
    before = len(opened[0].backend.requests)
    found, running = opened
    found.backend.scripts = [LONG, ROME]
    with running.openai() as client:
        answer = client.chat.completions.create(
            model="scripted", messages=ASK, extra_body={"thinking_budget": 4}, **asked
        )
    assert (answer.choices[0].message.tool_calls or [])[0].function.name == "weather"
    first, second = (request.params.structure.value for request in found.backend.requests[before:])
    assert allows(first, f"hm\n</think>\n\n{ROME}")
    assert not allows(first, ROME)
    assert allows(second, ROME)
    assert not allows(second, f"hm\n</think>\n\n{ROME}")


def test_random_weights_think_for_so_long_and_answer_as_they_must(tmp_path: Path) -> None:
    """On the PyTorch engine: without the budget, such a thought goes on for ever."""
    path = write_llama(tmp_path / "tiny", max_position_embeddings=2048)
    llm = LLM(
        str(path),
        name="tiny",
        backend="pytorch",
        max_model_len=2048,
        chat_template=PLAIN + "<think>",
        reasoning_format="think",
    )
    form: Any = {"type": "json_schema", "json_schema": {"name": "z", "schema": ZONE}}
    asked: Any = {"model": "tiny", "messages": ASK, "response_format": form, "n": 2, "seed": 1}
    with serve(llm) as running, running.openai() as client:
        answer = client.chat.completions.create(**asked, extra_body={"thinking_budget": 9})
        again = client.chat.completions.create(**asked, extra_body={"thinking_budget": 9})
    for choice in answer.choices:
        assert choice.message.reasoning  # type: ignore[attr-defined]
        jsonschema.validate(json.loads(choice.message.content or ""), ZONE)
        assert choice.finish_reason == "stop"
    assert again.choices == answer.choices
    counts = answer.usage and answer.usage.completion_tokens_details
    assert counts is not None
    assert (counts.reasoning_tokens or 0) > 2 * 9


def test_where_there_is_no_room_for_an_answer_the_thought_fills_it(
    opened: tuple[Scripted, Running],
) -> None:
    asked: Any = {"extra_body": {"thinking_budget": 4}, "max_tokens": 10}
    thought, text, usage = bounded(opened, [LONG], **asked)
    assert (text, usage.completion_tokens) == ("", 10)
    assert LONG.startswith(thought)


def test_a_model_without_thoughts_has_no_budget(client: httpx.Client) -> None:
    for name in ("thinking_budget", "thinking_token_budget"):
        answer = client.post("/v1/chat/completions", json={"messages": ASK, name: 4})
        assert answer.status_code == 200
        assert answer.headers["x-openllm-ignored"] == name


@pytest.mark.parametrize(
    "body",
    [
        {"thinking_budget": -2},
        {"thinking_token_budget": "8"},
        {"thinking_token_budget": 8, "thinking_budget": 9},
    ],
)
def test_a_budget_that_cannot_be_is_named(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", json={"messages": ASK, **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(body)))


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
