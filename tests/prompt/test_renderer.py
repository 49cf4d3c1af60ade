"""Prompts: rendering equals transformers' own, refusals are clear, tokens are those of the
tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.prompt.renderer import ChatRenderer
from openllm.types import Conversation, Message
from openllm.weights.tokenizer import load_tokenizer
from tests.tiny import write_tokenizer

TEMPLATES = {
    path.stem: path.read_text() for path in (Path(__file__).parent / "templates").glob("*.jinja")
}
CHATML, LLAMA3, MISTRAL = TEMPLATES["chatml"], TEMPLATES["llama3"], TEMPLATES["mistral"]
GEMMA, MACRO = (
    TEMPLATES["gemma"],
    TEMPLATES["macro"],
)  # content as text or parts; as parts only, through a macro
STYLES = {"chatml": CHATML, "llama3": LLAMA3, "mistral": MISTRAL, "gemma": GEMMA}
PLAIN = (
    Message("system", "Be brief."),
    Message("user", "  Wie geht's, «Welt»?\n"),
    Message("assistant", "Gut <b>danke</b>."),
    Message("user", "日本語 🙂 {{ 7 * 7 }} {% raise %}"),
)
TOOLS = (
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "é": ["<", 1.5, None]}},
    },
)
CALLED = (
    Message("user", "1+2?"),
    Message(
        "assistant",
        None,
        tool_calls=[
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": [1, 2]}'},
            }
        ],
    ),
    Message("tool", "3", tool_call_id="c1", name="add"),
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def render(tokenizer, template, *messages, **fields):
    return ChatRenderer(tokenizer, template).render(Conversation(messages, **fields))


def by_transformers(tokenizer, template, messages, **options):
    """What transformers makes of it, given dictionaries as its documentation wants them."""
    plain = []
    for message in messages:
        fields = {"role": message.role, "content": message.content}
        fields |= {
            key: value
            for key in ("name", "tool_call_id")
            if (value := getattr(message, key)) is not None
        }
        if message.tool_calls:
            calls = json.loads(json.dumps(message.tool_calls))
            for call in calls:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            fields["tool_calls"] = calls
        plain.append(fields)
    return tokenizer.apply_chat_template(plain, chat_template=template, tokenize=False, **options)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("prompted", [True, False])
def test_renders_as_transformers_does(tokenizer, style, prompted):
    ours = render(tokenizer, STYLES[style], *PLAIN, add_generation_prompt=prompted)
    assert ours == by_transformers(tokenizer, STYLES[style], PLAIN, add_generation_prompt=prompted)


@pytest.mark.parametrize("style", ["chatml", "llama3"])
def test_renders_tools_and_calls_as_transformers_does(tokenizer, style):
    ours = render(tokenizer, STYLES[style], *CALLED, tools=TOOLS)
    theirs = by_transformers(
        tokenizer, STYLES[style], CALLED, tools=list(TOOLS), add_generation_prompt=True
    )
    assert ours == theirs
    assert "é" in ours or style == "llama3"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", ["The answer is", "The answer is ", " The\n"])
def test_continues_the_final_message_as_transformers_does(tokenizer, style, ending):
    messages = (Message("user", "Well?"), Message("assistant", ending))
    options = {"add_generation_prompt": False, "continue_final_message": True}
    ours = render(tokenizer, STYLES[style], *messages, **options)
    assert ours == by_transformers(tokenizer, STYLES[style], messages, **options)


def test_template_arguments_reach_the_template(tokenizer):
    kwargs = {"enable_thinking": False, "date_string": "1 May"}
    ours = render(tokenizer, CHATML, Message("user", "a"), template_kwargs=kwargs)
    assert ours.endswith("<think></think>")
    assert "Date: 1 May" in render(tokenizer, LLAMA3, Message("user", "a"), template_kwargs=kwargs)


def test_the_tokenizers_own_template_is_the_default(tokenizer):
    assert render(tokenizer, None, Message("user", "hi")) == "<s><|user|>hi</s><|assistant|>"


def test_named_templates_choose_by_tools(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", {"default": "plain", "tool_use": "tools"})
    assert render(tokenizer, None, Message("user", "a")) == "plain"
    assert render(tokenizer, None, Message("user", "a"), tools=TOOLS) == "tools"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LLAMA3, "<|user|>one\ntwo</s>"),  # wants a text: parts are joined
        (GEMMA, "<start>user\nonetwo<end>"),  # takes either: parts stay parts
        (MACRO, "USER: * one* two 1/1"),  # wants parts, through a macro
        ("{{ messages[0].content[1].text }}", "two"),
    ],
)
def test_parts_are_given_as_the_template_wants_them(tokenizer, template, expected):
    parts = [{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}]
    assert expected in render(tokenizer, template, Message("user", parts))


@pytest.mark.parametrize(
    ("template", "expected"), [(MACRO, "USER: * hi 1/1"), (GEMMA, "user\nhi<end>")]
)
def test_text_becomes_a_part_where_the_template_wants_parts(tokenizer, template, expected):
    assert expected in render(tokenizer, template, Message("user", "hi"))


def test_an_image_is_refused_not_dropped(tokenizer):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(UnsupportedFeature, match="image_url"):
        render(tokenizer, GEMMA, Message("user", [part]))


def test_no_template_says_what_to_do(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    renderer = ChatRenderer(tokenizer)
    assert not renderer.has_template
    with pytest.raises(InvalidRequest, match=r"LLM\.generate.*chat_template"):
        renderer.render(Conversation((Message("user", "a"),)))


@pytest.mark.parametrize(
    ("template", "messages", "fields", "words"),
    [
        (MISTRAL, [Message("assistant", "a")], {}, "roles must alternate"),
        (CHATML, [], {}, "empty"),
        (CHATML, [Message("user", "a")], {"continue_final_message": True}, "exclude"),
        (CHATML, [Message("user", "a")], {"template_kwargs": {"messages": []}}, "'messages'"),
        ("{% for %}", [Message("user", "a")], {}, "not valid Jinja"),
        ("{{ messages[0].content + 1 }}", [Message("user", "a")], {}, "cannot render"),
        ("{% include 'x' %}", [Message("user", "a")], {}, "cannot render"),
        ("{{ ''.__class__.__mro__ }}", [Message("user", "a")], {}, "unsafe"),
        ("{{ messages.append(1) }}", [Message("user", "a")], {}, "cannot render"),
        (
            "x",
            [Message("user", "a")],
            {"continue_final_message": True, "add_generation_prompt": False},
            "drops",
        ),
        (CHATML, [Message("user", [{"type": "text"}])], {}, "no text"),
    ],
)
def test_what_cannot_be_rendered_is_the_requests_fault(
    tokenizer, template, messages, fields, words
):
    with pytest.raises(InvalidRequest, match=words) as caught:
        render(tokenizer, template, *messages, **fields)
    assert "\n" not in str(caught.value)


def test_encodes_as_the_tokenizer_does(tokenizer):
    renderer = ChatRenderer(tokenizer)
    text = "hello <|user|> wörld"  # the special token in a text becomes that token, as everywhere
    assert renderer.encode(text) == tokenizer.encode(text)
    assert renderer.encode(text, False) == tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.convert_tokens_to_ids("<|user|>") in renderer.encode(text)
    assert renderer.encode([5, 6]) == [5, 6]


def test_a_conversation_gets_no_second_bos(tokenizer):
    ids = ChatRenderer(tokenizer).encode(Conversation((Message("user", "hello"),)))
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids == tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_dict=False
    )


def test_a_truncating_call_elsewhere_does_not_cut_prompts(tokenizer):
    tokenizer("hello world hello world", truncation=True, max_length=2, padding="max_length")
    assert len(ChatRenderer(tokenizer).encode("hello world hello world")) > 2


@pytest.mark.parametrize("prompt", [[1, -1], [1, True], [1.0], ["a"], "half \ud83d"])
def test_what_is_no_prompt_is_refused(tokenizer, prompt):
    with pytest.raises(InvalidRequest):
        ChatRenderer(tokenizer).encode(prompt)


def test_a_text_far_too_long_is_told_without_tokenizing(tokenizer):
    renderer = ChatRenderer(tokenizer)
    assert renderer.too_long("hello " * 1_000_000, 512)
    text = "hello world " * 100
    assert not renderer.too_long(text, len(renderer.encode(text)))


def chat(*said: Message, **fields: object) -> Conversation:
    return Conversation(said, **fields)  # type: ignore[arg-type]


def test_a_loop_waits_for_small_conversations_of_a_quick_template(tokenizer):
    renderer = ChatRenderer(tokenizer, CHATML)
    small = chat(Message("user", "Hi"))
    assert not renderer.is_quick(small)  # nothing is known of the template yet
    renderer.encode(small)
    assert renderer.is_quick(small)
    assert not renderer.is_quick(chat(Message("user", "long" * 1000)))
    assert not renderer.is_quick(chat(*[Message("user", "Hi")] * 50))
    assert not renderer.is_quick(chat(Message("user", "Hi"), tools=TOOLS))
    assert not renderer.is_quick(chat(Message("user", "Hi"), template_kwargs={"count": 10**6}))
    assert renderer.is_quick("a short text")
    assert not renderer.is_quick("a long text" * 1000)


def test_no_loop_waits_for_a_slow_template(tokenizer):
    slow = "{% for _ in range(30000) %}{% set x = 1 %}{% endfor %}" + CHATML
    renderer = ChatRenderer(tokenizer, slow)
    small = chat(Message("user", "Hi"))
    for _ in range(2):
        renderer.encode(small)
        assert not renderer.is_quick(small)
