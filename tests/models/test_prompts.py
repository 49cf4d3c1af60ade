"""A rendered prompt per family: plain, with tools and their calls, with the thought on and off.

The templates in prompts/ are our own, short, with the marks of the models' turns, calls and
thoughts; the models' templates are not ours to keep here, and say much more.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from openllm import models
from openllm.answer.formats import Call, shown_by, tool_format
from openllm.prompt.renderer import ChatRenderer
from openllm.types import Conversation, Message
from tests.models.test_registry import KNOWN

PAGES = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "prompts").glob("*.yaml"))
}
# Text completion, and the demo, whose template is with it.
WITHOUT = {"demo", "flan_t5", "generic", "gpt2", "gpt_neox", "opt", "starcoder"}
# Only some of these families' models think, and their templates alone show it.
SILENT = {"ernie", "granite", "kimi", "ministral", "olmo", "qwen3_next", "qwen_vl"}
TOOL = {
    "type": "function",
    "function": {
        "name": "time",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}
ASKED = (Message("system", "Be brief."), Message("user", "What time is it?"))
TALKED = (*ASKED, Message("assistant", "Noon."), Message("user", "Thanks."))
CALL = Call("time", '{"zone": "UTC"}', "abcdefghi")
CALLED = (
    *ASKED,
    Message(
        "assistant",
        None,
        tool_calls=[
            {
                "id": CALL.id,
                "type": "function",
                "function": {"name": CALL.name, "arguments": CALL.arguments},
            }
        ],
    ),
    Message("tool", "12:00", tool_call_id=CALL.id, name=CALL.name),
)


def rendered(page: dict[str, Any], kind: str) -> str:
    tokenizer = SimpleNamespace(
        chat_template=page["template"], special_tokens_map={}, backend_tokenizer=None
    )
    asked = {
        "plain": Conversation(TALKED),
        "tools": Conversation(CALLED, (TOOL,)),
    }.get(kind)
    if asked is None:
        kwargs = page["thinking"][kind.removeprefix("thinking ")]
        asked = Conversation(ASKED, template_kwargs=kwargs)
    return ChatRenderer(tokenizer).render(asked)


def test_each_family_that_talks_has_its_page() -> None:
    talking = {name for name in KNOWN if models.get(name).task == "generate"}
    assert set(PAGES) == talking - WITHOUT


@pytest.mark.parametrize("name", PAGES)
def test_prompts_are_rendered_as_written_down(name: str) -> None:
    page = PAGES[name]
    assert {kind: rendered(page, kind) for kind in page["prompts"]} == page["prompts"]
    assert ("thinking on" in page["prompts"]) is ("thinking" in page)


@pytest.mark.parametrize("name", PAGES)
def test_the_formats_are_the_familys(name: str) -> None:
    family, template = models.get(name), PAGES[name]["template"]
    assert shown_by("tools", template) == family.tool_format
    thoughts = None if name in SILENT else family.reasoning_format
    assert shown_by("reasoning", template) == thoughts
    if family.tool_format is not None:
        assert tool_format(family.tool_format).write([CALL]) in PAGES[name]["prompts"]["tools"]


@pytest.mark.parametrize("name", PAGES)
def test_thinking_on_and_off_are_two_prompts(name: str) -> None:
    prompts = PAGES[name]["prompts"]
    if "thinking on" in prompts:
        assert prompts["thinking on"] != prompts["thinking off"]


@pytest.mark.parametrize("name", [name for name in PAGES if models.get(name).marks])
def test_a_familys_marks_are_in_its_template(name: str) -> None:
    family, template = models.get(name), PAGES[name]["template"]
    tokens = {token for marks in family.marks for token in marks.tokens}
    assert family.is_shown_by(template, tokens)
    assert not family.is_shown_by("{{ messages }}", tokens)
