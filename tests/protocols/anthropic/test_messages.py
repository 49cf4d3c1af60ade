"""What a request of Anthropic's clients becomes for the model: turns, blocks, tools, and what is
refused or passed over.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from openllm.types import StructureKind
from tests.scripted import Scripted

PATH = "/v1/messages"
COUNT_PATH = PATH + "/count_tokens"
ASK: Any = [{"role": "user", "content": "hello"}]
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: Any = {"name": "weather", "description": "d", "input_schema": CITY}
PLACE: Any = {"name": "place", "input_schema": CITY}
CACHED = {"cache_control": {"type": "ephemeral"}}
Served = tuple[Scripted, httpx.Client]


def post(client: httpx.Client, path: str = PATH, **body: Any) -> httpx.Response:
    return client.post(path, json={"max_tokens": 8, "messages": ASK, **body})


def asked(served: Served, **body: Any) -> httpx.Response:
    """The answer to a request, which must not be an error."""
    served[0].backend.script = "ok"
    answer = post(served[1], **body)
    assert answer.status_code == 200, answer.text
    return answer


def prompt(served: Served, **body: Any) -> str:
    asked(served, **body)
    return served[0].last_prompt()


def user(*blocks: Any) -> Any:
    return {"role": "user", "content": list(blocks)}


def text(said: str) -> Any:
    return {"type": "text", "text": said, **CACHED}


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    return str(error["error"]["message"])


# Turns.


@pytest.mark.parametrize("system", ["Be brief.", [text("Be brief.")], None, []])
def test_system_is_a_message_of_its_own(scripted: Served, system: Any) -> None:
    first = "<|system|>Be brief." if system else ""
    assert prompt(scripted, system=system) == f"{first}<|user|>hello<|assistant|>"


def test_what_is_for_the_vendors_accounts_is_not_for_the_model(scripted: Served) -> None:
    billing = text("x-anthropic-billing-header: cc_version=2.1; cch=1a2b3;")
    found = prompt(scripted, system=[billing, text("Be brief."), text("Be kind.")])
    assert found.startswith("<|system|>Be brief.\nBe kind.<|user|>")


def test_an_assistants_turn_at_the_end_is_continued(scripted: Served) -> None:
    begun = {"role": "assistant", "content": "It is"}
    assert prompt(scripted, messages=[*ASK, begun]).endswith("<|assistant|>It is")


CALL: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}


def turn(result: Any, *others: Any) -> list[Any]:
    said = {"role": "assistant", "content": [text("I look."), CALL]}
    return [*ASK, said, user({"type": "tool_result", "tool_use_id": "toolu_1", **result}, *others)]


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"content": "sunny"}, "sunny"),
        ({"content": [text("sunny"), text("warm")]}, "sunny\nwarm"),
        ({"content": ["sunny", {"degrees": 20}]}, 'sunny\n{"degrees":20}'),
        ({"content": {"degrees": 20}}, '{"degrees":20}'),
        ({"content": [], **CACHED}, ""),
        ({}, ""),
        ({"content": "no such city", "is_error": True}, "Error: no such city"),
        (
            {
                "content": [
                    {
                        "type": "search_result",
                        "source": "a.txt",
                        "title": "A",
                        "content": [text("sunny")],
                        "citations": {"enabled": True},
                    }
                ]
            },
            "A\na.txt\nsunny",
        ),
    ],
)
def test_a_tools_result_is_taken_in_any_form(scripted: Served, result: Any, shown: str) -> None:
    found = prompt(scripted, messages=turn(result, text("And Oslo?")), tools=[WEATHER])
    assert '<tool_call>weather {"city": "Rome"}</tool_call>' in found
    assert found.endswith(f"<|tool|>{shown}<|user|>And Oslo?<|assistant|>")


def test_a_result_keeps_its_place_among_texts(scripted: Served) -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}
    turns = [*turn({})[:2], user(text("First."), result, text("Then."))]
    found = prompt(scripted, messages=turns, tools=[WEATHER])
    assert found.endswith("<|user|>First.<|tool|>sunny<|user|>Then.<|assistant|>")


def test_thoughts_of_earlier_turns_are_the_templates(scripted: Served) -> None:
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
        {"type": "redacted_thinking", "data": "xyz"},
        text("Yes."),
    ]
    turns = [*ASK, {"role": "assistant", "content": said}, user(text("Why?"))]
    assert "<|assistant|>Yes.<think>Hm.</think><|user|>Why?" in prompt(scripted, messages=turns)


def test_documents_that_are_text_are_read(scripted: Served) -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "All is well."}
    parts = {"type": "content", "content": [text("Still well.")]}
    blocks = [
        {"type": "document", "title": "News", "source": plain, **CACHED},
        {"type": "document", "source": parts, "context": "Later."},
        text("What is new?"),
    ]
    found = prompt(scripted, messages=[user(*blocks)])
    said = "News\nAll is well.\nLater.\nStill well.\nWhat is new?"
    assert found == f"<|user|>{said}<|assistant|>"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}},
            "messages[0].content[0].source.data: the model",
        ),
        (
            {"type": "document", "source": {"type": "base64", "data": ""}},
            "messages[0].content[0].source.type: only text is taken, not 'base64'",
        ),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "audio"}]},
            "messages[0].content[0].content[0].type: only text is taken, not 'audio'",
        ),
        ({"text": 1}, "messages[0].content[0].text: must be a string"),
        (7, "messages[0].content[0] must be an object"),
    ],
)
def test_media_and_what_is_no_block_are_refused_by_name(
    client: httpx.Client, block: Any, said: str
) -> None:
    assert said in refusal(post(client, messages=[user(block)]))


def test_blocks_of_the_vendors_servers_are_passed_over(scripted: Served) -> None:
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "a"}}
    turns = [*ASK, {"role": "assistant", "content": [use, text("Yes.")]}, user(text("Why?"))]
    answer = asked(scripted, messages=turns)
    assert scripted[0].last_prompt().endswith("<|assistant|>Yes.<|user|>Why?<|assistant|>")
    assert answer.headers["x-openllm-ignored"] == "messages[].content[].type"


# Tools.


def test_tools_are_told_as_the_template_has_them(scripted: Served) -> None:
    shown = prompt(scripted, tools=[{**WEATHER, **CACHED, "type": "custom"}])
    assert '"parameters": {"type": "object", "properties": {"city"' in shown
    assert "cache_control" not in shown


def test_tools_of_other_kinds_are_left_out_and_named(scripted: Served) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    answer = asked(scripted, tools=[search, WEATHER])
    assert "web_search" not in scripted[0].last_prompt()
    assert answer.headers["x-openllm-ignored"] == "tools[].type"


@pytest.mark.parametrize(
    ("choice", "named", "kept"),
    [
        (None, ("weather", "place"), False),
        ({"type": "auto"}, ("weather", "place"), False),
        ({"type": "any", "disable_parallel_tool_use": True}, ("weather", "place"), True),
        ({"type": "tool", "name": "place"}, ("place",), True),
        ({"type": "none"}, (), False),
    ],
)
def test_a_choice_of_tools_is_kept_by_a_grammar(
    scripted: Served, choice: Any, named: tuple[str, ...], kept: bool
) -> None:
    asked(scripted, tools=[WEATHER, PLACE], tool_choice=choice)
    structure = scripted[0].backend.requests[-1].params.structure
    assert (structure is not None) == kept
    shown = structure.value if structure is not None else scripted[0].last_prompt()
    shown = shown.replace("\\", "")
    assert tuple(name for name in ("weather", "place") if f'"{name}' in shown) == named


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"tool_choice": {"type": "any"}}, "tool_choice: needs tools"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "time"}},
            "tool_choice: there is no tool 'time'",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "sometimes"}}, "tool_choice.type: must be"),
        ({"tools": [{"input_schema": CITY}]}, "tools[0].name is required"),
        ({"tools": [{"name": "a b", "input_schema": CITY}]}, "tools[0].name: must be"),
        ({"tools": [{"name": "a", "input_schema": "b"}]}, "tools[0].input_schema: must be"),
    ],
)
def test_what_is_wrong_with_tools_is_named(client: httpx.Client, body: Any, said: str) -> None:
    assert said in refusal(post(client, **body))


# The rest.


def test_sampling_is_called_as_the_vendor_calls_it(scripted: Served) -> None:
    asked(scripted, temperature=0.5, top_p=0.9, top_k=7, stop_sequences=["END", ""], max_tokens=5)
    params = scripted[0].backend.requests[-1].params
    assert (params.temperature, params.top_p, params.top_k) == (0.5, 0.9, 7)
    assert (params.stop, params.max_tokens) == (("END",), 5)


def test_more_tokens_than_there_is_room_for_are_cut_to_it(scripted: Served) -> None:
    asked(scripted, max_tokens=32_000)
    request = scripted[0].backend.requests[-1]
    assert request.params.max_tokens == 4096 - len(request.prompt_token_ids)


def test_a_form_is_a_structure(scripted: Served) -> None:
    form = {"type": "json_schema", "schema": CITY}
    for body in ({"output_config": {"format": form}}, {"output_format": form}):
        asked(scripted, **body)
        structure = scripted[0].backend.requests[-1].params.structure
        assert structure is not None
        assert structure.kind in (StructureKind.JSON_SCHEMA, StructureKind.GRAMMAR)


@pytest.mark.parametrize(
    ("thinking", "closed"),
    [
        (None, False),
        ({"type": "enabled", "budget_tokens": 1024}, False),
        ({"type": "adaptive", "display": "summarized"}, False),
        ({"type": "disabled"}, True),
    ],
)
def test_thinking_is_the_templates_switch(scripted: Served, thinking: Any, closed: bool) -> None:
    assert prompt(scripted, thinking=thinking).endswith("<think></think>") == closed


@pytest.mark.parametrize(
    ("thinking", "thought"),
    [
        ({"type": "enabled", "budget_tokens": 6}, "one t"),
        ({"type": "enabled", "budget_tokens": 100}, "one two three four"),
    ],
)
def test_a_thought_ends_with_its_budget(scripted: Served, thinking: Any, thought: str) -> None:
    scripted[0].backend.script = "<think>one two three four</think>Yes."
    answer = post(scripted[1], thinking=thinking, max_tokens=200).json()
    assert answer["content"][0]["type"] == "thinking"
    assert answer["content"][0]["thinking"].startswith(thought)
    assert ("four" in answer["content"][0]["thinking"]) == (thinking["budget_tokens"] == 100)


def test_what_the_templates_do_not_know_is_named(scripted: Served, client: httpx.Client) -> None:
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
    answer = asked(scripted, **body)
    assert answer.headers["x-openllm-ignored"] == "output_config.effort"
    assert post(client, **body).headers["x-openllm-ignored"] == "thinking, output_config.effort"


# As Claude Code sends it, less the length of its texts.
CLAUDE_CODE: Any = {
    "max_tokens": 32_000,
    "messages": [user(text("<system-reminder>\nToday is Friday.\n</system-reminder>"), text("hi"))],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.90; cch=00000;"},
        text("You are Claude Code."),
    ],
    "tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
    "metadata": {"user_id": "user_1_account__session_2"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "thinking": {"type": "adaptive"},
    "stream": True,
}


def test_what_claude_code_sends_is_answered(scripted: Served) -> None:
    found, client = scripted
    found.backend.script = "<think>A greeting.</think>Hello!"
    headers = {"anthropic-beta": "claude-code-20250219,unknown-2030-01-01", "x-api-key": "k"}
    answer = client.post(f"{PATH}?beta=true", json=CLAUDE_CODE, headers=headers)
    assert answer.status_code == 200, answer.text
    assert "message_stop" in answer.text
    named = answer.headers["x-openllm-ignored"].split(", ")
    assert named == ["tools[].type", "context_management", "output_config.effort"]


def test_a_prompt_is_counted_as_it_would_be_sent(scripted: Served) -> None:
    found, client = scripted
    answer = client.post(f"{COUNT_PATH}?beta=true", json=CLAUDE_CODE)
    client.post(PATH, json=CLAUDE_CODE)
    assert answer.json() == {"input_tokens": len(found.backend.requests[-1].prompt_token_ids)}


def test_fields_that_are_not_acted_on_are_refused_where_the_operator_says_so(
    strict_client: httpx.Client,
) -> None:
    assert "context_management is not supported" in refusal(
        post(strict_client, context_management={"edits": []})
    )
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert "'web_search_20250305' is not known" in refusal(post(strict_client, tools=[search]))
    assert "max_tokens is required" in refusal(post(strict_client, max_tokens=None))
    assert post(strict_client, metadata={"user_id": "a"}).status_code == 200
