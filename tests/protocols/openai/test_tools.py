"""Tools through the official client: calls read from what a model writes, whole and streamed, and
calls that a grammar keeps to what was asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from openllm.llm.llm import LLM
from openllm.types import StructureKind
from tests.scripted import TEMPLATE, Scripted
from tests.serving import Running, serve
from tests.tiny import write_llama

ASK: Any = [{"role": "user", "content": "What is the weather?"}]
WEATHER: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
ZONE: Any = {
    "type": "object",
    "properties": {"zone": {"enum": ["UTC", "CET"]}},
    "required": ["zone"],
    "additionalProperties": False,
}
SCHEMAS = {"weather": WEATHER, "time": ZONE}
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
ROME = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "unit": "C"}}\n</tool_call>'
UTC = '<tool_call>\n{"name": "time", "arguments": {"zone": "UTC"}}\n</tool_call>'
ROME_ARGUMENTS, UTC_ARGUMENTS = '{"city": "Rome", "unit": "C"}', '{"zone": "UTC"}'
PLAIN = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    "<|assistant|>"
)


def _serve(template: str, path: Path) -> Iterator[tuple[Scripted, Running]]:
    scripted = Scripted(path, template)
    with serve(scripted.llm) as running:
        yield scripted, running


@pytest.fixture(scope="module")
def scripted(echo_model: Path) -> Iterator[tuple[Scripted, Running]]:
    yield from _serve(TEMPLATE, echo_model)


@pytest.fixture(scope="module")
def without_tools(echo_model: Path) -> Iterator[tuple[Scripted, Running]]:
    """A model whose template shows no tools."""
    yield from _serve(PLAIN, echo_model)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Random weights on the PyTorch engine: nothing but a grammar makes them call a tool."""
    path = write_llama(tmp_path_factory.mktemp("tiny") / "tiny", max_position_embeddings=2048)
    llm = LLM(str(path), name="tiny", backend="pytorch", max_model_len=2048)
    with serve(llm) as running, running.openai() as client:
        yield client


def written(
    served: tuple[Scripted, Running], script: str, messages: Any = ASK, **asked: Any
) -> Any:
    """The first choice of a whole answer that has the text `script`."""
    found, running = served
    found.backend.script = script
    with running.openai() as client:
        answer = client.chat.completions.create(model="scripted", messages=messages, **asked)
    return answer.choices[0]


def streamed(
    served: tuple[Scripted, Running], script: str, **asked: Any
) -> list[ChatCompletionChunk]:
    found, running = served
    found.backend.script = script
    with running.openai() as client:
        return list(
            client.chat.completions.create(model="scripted", messages=ASK, stream=True, **asked)
        )


def calls_of(chunks: list[ChatCompletionChunk]) -> list[tuple[str, str]]:
    """The calls of a stream put together as clients do it; each has its id, type and name once."""
    found: dict[int, tuple[str, str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                if call.index not in found:
                    assert call.index == len(found)
                    assert call.id
                    assert call.type == "function"
                    found[call.index] = (call.function.name or "", "")
                else:
                    assert (call.id, call.type, call.function.name) == (None, None, None)
                name, arguments = found[call.index]
                found[call.index] = (name, arguments + (call.function.arguments or ""))
    return list(found.values())


# What a model writes.


def test_a_call_is_read_and_its_content_is_null(scripted: tuple[Scripted, Running]) -> None:
    choice = written(scripted, ROME, tools=TOOLS)
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls
    assert call.id
    assert (call.type, call.function.name) == ("function", "weather")
    assert call.function.arguments == ROME_ARGUMENTS


def test_calls_in_parallel_have_ids_of_their_own(scripted: tuple[Scripted, Running]) -> None:
    choice = written(scripted, f"I look.\n{ROME}\n{UTC}", tools=TOOLS)
    assert choice.message.content.startswith("I look.")
    first, second = choice.message.tool_calls
    assert (first.function.name, second.function.name) == ("weather", "time")
    assert first.id != second.id


def test_without_tools_what_looks_like_a_call_is_text(scripted: tuple[Scripted, Running]) -> None:
    for asked in ({}, {"tools": TOOLS, "tool_choice": "none"}):
        choice = written(scripted, ROME, **asked)
        assert choice.message.content == ROME
        assert choice.message.tool_calls is None
        assert choice.finish_reason == "stop"
    assert "TOOLS" not in scripted[0].last_prompt()


def test_a_broken_call_comes_back_as_text(scripted: tuple[Scripted, Running]) -> None:
    broken = '<tool_call>\n{"name": 7}\n</tool_call>'
    choice = written(scripted, broken, tools=TOOLS)
    assert (choice.message.content, choice.finish_reason) == (broken, "stop")


def test_a_stream_of_calls_is_the_whole_answer(scripted: tuple[Scripted, Running]) -> None:
    chunks = streamed(scripted, f"I look.\n{ROME}\n{UTC}", tools=TOOLS)
    assert calls_of(chunks) == [("weather", ROME_ARGUMENTS), ("time", UTC_ARGUMENTS)]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.strip() == "I look."
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    fragments = [chunk for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert len(fragments) > 4  # arguments come as they are written


def test_the_clients_own_helper_puts_a_stream_together(scripted: tuple[Scripted, Running]) -> None:
    found, running = scripted
    found.backend.script = f"{ROME}\n{UTC}"
    with (
        running.openai() as client,
        client.chat.completions.stream(model="scripted", messages=ASK, tools=TOOLS) as stream,
    ):
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in choice.message.tool_calls or ()] == ["weather", "time"]


def test_each_choice_of_several_has_its_calls(scripted: tuple[Scripted, Running]) -> None:
    chunks = streamed(scripted, ROME, tools=TOOLS, n=2)
    for index in range(2):
        mine = [chunk for chunk in chunks if chunk.choices[0].index == index]
        assert calls_of(mine) == [("weather", ROME_ARGUMENTS)]
        assert mine[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_no_second_call_where_one_was_asked_for(
    scripted: tuple[Scripted, Running], stream: bool
) -> None:
    asked: Any = {"tools": TOOLS, "parallel_tool_calls": False}
    if stream:
        chunks = streamed(scripted, f"{ROME}\n{UTC}", **asked)
        assert calls_of(chunks) == [("weather", ROME_ARGUMENTS)]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
    else:
        choice = written(scripted, f"{ROME}\n{UTC}", **asked)
        assert len(choice.message.tool_calls) == 1
        assert choice.finish_reason == "tool_calls"


def test_logprobs_stand_beside_the_parts(scripted: tuple[Scripted, Running]) -> None:
    whole = written(scripted, f"hi {ROME}", tools=TOOLS, logprobs=True)
    chunks = streamed(scripted, f"hi {ROME}", tools=TOOLS, logprobs=True)
    entries = [
        entry
        for chunk in chunks
        if (logprobs := chunk.choices[0].logprobs)
        for entry in logprobs.content or ()
    ]
    assert entries == whole.logprobs.content
    assert calls_of(chunks) == [("weather", ROME_ARGUMENTS)]


# What a model is told.


def test_the_template_shows_the_tools(scripted: tuple[Scripted, Running]) -> None:
    written(scripted, "hi", tools=TOOLS)
    prompt = scripted[0].last_prompt()
    assert "TOOLS" in prompt
    assert '"name": "weather"' in prompt
    assert "strict" not in prompt


def test_a_template_without_tools_is_told_them_in_a_system_message(
    without_tools: tuple[Scripted, Running],
) -> None:
    choice = written(without_tools, ROME, tools=TOOLS)
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == ROME_ARGUMENTS
    prompt = without_tools[0].last_prompt()
    assert prompt.startswith("<|system|>")
    assert '"name": "weather"' in prompt
    assert "<tool_call>" in prompt


@pytest.mark.parametrize("template", [TEMPLATE, PLAIN])
def test_the_operator_may_say_the_format(echo_model: Path, template: str) -> None:
    """Whatever the template shows, or where it shows none."""
    options = {"tool_format": "pythonic", "reasoning_format": "mistral"}
    scripted = Scripted(echo_model, template, **options)
    thought = "[THINK]A tool.[/THINK]"
    with serve(scripted.llm) as running:
        choice = written((scripted, running), thought + "[time(zone='UTC')]", tools=TOOLS)
        assert choice.message.reasoning_content == "A tool."
        [call] = choice.message.tool_calls
        assert (call.function.name, call.function.arguments) == ("time", UTC_ARGUMENTS)
        assert written((scripted, running), ROME, tools=TOOLS).message.content == ROME
        told = "[the function's name(" in scripted.last_prompt()
        assert told is (template == PLAIN)


def test_calls_and_results_reach_a_template_without_tools(
    without_tools: tuple[Scripted, Running],
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
    ]
    written(without_tools, "noon", messages, tools=TOOLS)
    prompt = without_tools[0].last_prompt()
    assert prompt.startswith("<|system|>Be brief.\n\n")
    assert '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>' in prompt
    assert "<|user|><tool_response>\n12:00\n</tool_response>" in prompt


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"a": [1]}', '{"a": [1]}'),
        ({"a": 1}, '{"a": 1}'),
        ('{"a": ', 'TEXT {"a": '),
        ("[1, 2]", "TEXT [1, 2]"),
        (None, "{}"),
        ("", "{}"),
    ],
)
def test_the_history_is_not_judged(
    scripted: tuple[Scripted, Running], arguments: Any, shown: str
) -> None:
    call = {"type": "function", "function": {"name": "no such tool", "arguments": arguments}}
    messages = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call], "name": None},
        {"role": "tool", "content": [{"type": "text", "text": "a"}, "b", {"c": 1}]},
        {"role": "function", "name": "old", "content": {"d": None}},
        {"role": "user", "content": None},
    ]
    assert written(scripted, "hi", messages).message.content == "hi"
    prompt = scripted[0].last_prompt()
    assert f"<tool_call>no such tool {shown}</tool_call>" in prompt
    assert '<|tool|>a\nb\n{"c":1}<|tool|>{"d":null}' in prompt


# What a grammar keeps.


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"weather", "time"}),
        ({"type": "function", "function": {"name": "time"}}, {"time"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            {"weather"},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_random_weights_call_what_they_must(
    tiny: openai.OpenAI, choice: Any, names: set[str], stream: bool
) -> None:
    asked: Any = {"model": "tiny", "messages": ASK, "tools": TOOLS, "tool_choice": choice}
    if stream:
        chunks = list(tiny.chat.completions.create(**asked, stream=True))
        [(name, arguments)] = calls_of(chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        answer = tiny.chat.completions.create(**asked)
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        name, arguments = call.function.name, call.function.arguments
        reason = answer.choices[0].finish_reason
    assert name in names
    jsonschema.validate(json.loads(arguments), SCHEMAS[name])
    assert reason == "tool_calls"


def grammar_of(served: tuple[Scripted, Running]) -> str:
    structure = served[0].backend.requests[-1].params.structure
    assert structure is not None
    assert structure.kind is StructureKind.GRAMMAR
    return structure.value


def allows(grammar: str, text: str) -> bool:
    import xgrammar
    from xgrammar.testing import _is_grammar_accept_string as accepts

    return bool(accepts(xgrammar.Grammar.from_ebnf(grammar), text))


def test_a_strict_tool_leaves_the_answer_free_and_its_calls_not(
    scripted: tuple[Scripted, Running],
) -> None:
    strict = [{"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}, TOOLS[1]]
    written(scripted, "hi", tools=strict)
    grammar = grammar_of(scripted)
    assert allows(grammar, "It is warm.")
    assert allows(grammar, f"I look. {ROME}\n{UTC}")
    assert not allows(grammar, ROME.replace("Rome", "Bonn"))
    assert not allows(grammar, ROME.replace("weather", "whether"))


def test_allowed_tools_are_the_only_ones(scripted: tuple[Scripted, Running]) -> None:
    allowed = {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [{"type": "function", "function": {"name": "time"}}],
        },
    }
    written(scripted, "hi", tools=TOOLS, tool_choice=allowed)
    grammar = grammar_of(scripted)
    assert allows(grammar, "hi")
    assert allows(grammar, UTC)
    assert not allows(grammar, ROME)
    assert '"weather"' in scripted[0].last_prompt()  # all are shown: a prompt that stays is cached


@pytest.mark.parametrize(("parallel", "several"), [(None, False), (False, False), (True, True)])
def test_a_required_call_is_one_unless_several_are_wanted(
    scripted: tuple[Scripted, Running], parallel: bool | None, several: bool
) -> None:
    asked = {} if parallel is None else {"parallel_tool_calls": parallel}
    written(scripted, ROME, tools=TOOLS, tool_choice="required", **asked)
    grammar = grammar_of(scripted)
    assert allows(grammar, ROME)
    assert allows(grammar, f"{ROME}\n{UTC}") is several
    assert not allows(grammar, "It is warm.")


def test_tools_and_a_response_format_are_one_or_the_other(
    scripted: tuple[Scripted, Running],
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "z", "schema": ZONE}}
    written(scripted, '{"zone": "UTC"}', tools=TOOLS, response_format=form)
    grammar = grammar_of(scripted)
    assert allows(grammar, '{"zone": "UTC"}')
    assert allows(grammar, ROME)
    assert not allows(grammar, "hi")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "time"}}}, "tool_choice"),
    ],
)
def test_an_engine_without_structures_says_which_field_it_cannot_keep(
    client: httpx.Client, asked: dict[str, Any], param: str
) -> None:
    body = {"messages": ASK, "tools": TOOLS, **asked}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_an_engine_without_structures_refuses_strict_tools(client: httpx.Client) -> None:
    strict = {"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}
    answer = client.post("/v1/chat/completions", json={"messages": ASK, "tools": [strict]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tools[].function.strict"


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        (None, "required", "tool_choice"),
        (TOOLS, "sometimes", "tool_choice"),
        (TOOLS, {"type": "function", "function": {"name": "none"}}, "tool_choice"),
        (TOOLS, {"type": "function"}, "tool_choice.name"),
        (TOOLS, {"type": "magic"}, "tool_choice.type"),
        (TOOLS, {"type": "allowed_tools", "allowed_tools": {}}, "tool_choice.allowed_tools.tools"),
    ],
)
def test_a_choice_that_cannot_be_is_named(
    client: httpx.Client, tools: Any, choice: Any, param: str
) -> None:
    body = {"messages": ASK, "tools": tools, "tool_choice": choice}
    answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
