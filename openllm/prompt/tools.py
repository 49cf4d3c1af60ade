"""Tools for a model whose chat template shows none: told in a system message, calls and results as
text, in Hermes' format unless another is said.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from openllm.answer.formats import Call, ToolFormat, tool_format
from openllm.errors import UnsupportedFeature
from openllm.prompt.expectations import Expectations
from openllm.prompt.messages import Content, content_text, followed_by, with_system_text
from openllm.types import Conversation, Message

FORMAT = "hermes"  # the tool format that the block asks for where none is said
_BLOCK = """\
You may call functions to help with the user's request. These are the functions, one a line, as \
JSON:
<tools>
{tools}
</tools>
To call a function, answer {how}:
{example}"""
_AS_JSON = (
    "with a JSON object that has its name and its arguments, between these marks; several calls are"
    " written one after the other"
)
_LIKE_THIS = "like this, with its own name, and its arguments by their names"
_EXAMPLE = Call("the function's name", json.dumps({"an argument's name": "its value"}), "000000000")


def told(conversation: Conversation, expects: Expectations, form: ToolFormat) -> Conversation:
    """The same conversation for a template that `expects` no tools: nothing in it but texts.

    Tools stand in a system message; or in the first message, where the template refuses those.
    Calls are as `form` writes them, where their arguments are an object. Errors:
    UnsupportedFeature where an unfinished call is to be continued.
    """
    messages = _as_texts(conversation.messages, form)
    if conversation.continue_final_message and conversation.messages[-1].tool_calls:
        raise UnsupportedFeature(
            "A message that calls tools cannot be continued with this model's chat template.",
            param="continue_final_message",
        )
    if conversation.tools:
        messages = with_system_text(messages, block(conversation.tools, form), expects.system)
    return attrs.evolve(conversation, messages=tuple(messages), tools=())


def block(tools: Iterable[Mapping[str, Any]], form: ToolFormat) -> str:
    """What a model is told of its tools."""
    declared = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    how = _AS_JSON if form is tool_format(FORMAT) else _LIKE_THIS
    return _BLOCK.format(tools=declared, how=how, example=form.write([_EXAMPLE]))


def _as_texts(messages: Sequence[Message], form: ToolFormat) -> list[Message]:
    """Calls and their results as texts; results that follow each other in one message."""
    found: list[Message] = []
    after_result = False
    for message in messages:
        is_result = message.role in ("tool", "function")
        if is_result and after_result:
            both = followed_by(found[-1].content or "", _result(message))
            found[-1] = attrs.evolve(found[-1], content=both)
        elif is_result:
            found.append(Message("user", _result(message)))
        elif message.tool_calls:
            text = _with_calls(message, form)
            found.append(attrs.evolve(message, content=text, tool_calls=None))
        else:
            found.append(message)
        after_result = is_result
    return found


def _result(message: Message) -> Content:
    begun = followed_by("<tool_response>", message.content or "")
    return followed_by(begun, "</tool_response>")


def _with_calls(message: Message, form: ToolFormat) -> str:
    calls = [_call(call.get("function") or {}, form) for call in message.tool_calls or ()]
    return "\n".join(text for text in (content_text(message), *calls) if text)


def _call(function: Mapping[str, Any], form: ToolFormat) -> str:
    name, arguments = str(function.get("name") or ""), function.get("arguments")
    if isinstance(arguments, str):
        # a model's broken call is shown as it was
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments or "{}")
    said = json.dumps(arguments, ensure_ascii=False)
    return (form if isinstance(arguments, Mapping) else tool_format(FORMAT)).write(
        [Call(name, said, _EXAMPLE.id)]
    )
