"""What callers pass as a prompt, as values of `openllm.types`; and what a chat template is given
for each message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.prompt.expectations import ContentFormat, Expectations
from openllm.types import Conversation, Image, Message, Prompt

# Under which names templates look for the thought before a message, and clients send it back.
REASONING_NAMES = ("reasoning_content", "reasoning", "thinking")
IMAGE = "image"  # the type of a part that is one, and where it holds it
_IMAGE_PART = {"type": IMAGE}  # what a chat template is given of it
Content = str | Sequence[Mapping[str, Any]]  # of a message
LONGEST_SHOWN = 80  # characters of what was wrong
# What a part of a message may be, and under which key its text stands. A client may send an
# earlier answer back as it came: its parts are output_text and refusal.
TEXT_PARTS: Mapping[str, str] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
}


def require_items(value: object, what: str, hint: str) -> None:
    """Refuse what is no list of items: a text, bytes, a mapping, a number. Errors:
    InvalidRequest.
    """
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise InvalidRequest(f"{what} cannot be {_shown(value)}.", hint=hint, param="prompt")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def conversation(messages: Sequence[Message | Mapping[str, Any]]) -> Conversation:
    """Messages as a prompt. Errors: InvalidRequest for none, or for one without a role."""
    require_items(messages, "A conversation", "Pass a list of messages.")
    if not messages:
        raise InvalidRequest("There are no messages.", hint="Send at least one.", param="prompt")
    return Conversation(
        tuple(item if isinstance(item, Message) else _message(item) for item in messages)
    )


def _message(item: Mapping[str, Any]) -> Message:
    try:
        return Message(**item)
    except TypeError:
        has = sorted(item) if isinstance(item, Mapping) else repr(item)
        raise InvalidRequest(
            f"A message has {has}; it needs role and content.",
            hint="See openllm.Message.",
            param="prompt",
        ) from None


def as_prompts(texts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt or several, as several. Errors: InvalidRequest for what is neither."""
    if isinstance(texts, str | Conversation):
        return [texts]
    require_items(texts, "An input", "Pass a text, or a list of texts.")
    items: list[Any] = list(texts)
    return [items] if items and all(isinstance(item, int) for item in items) else items


def template_message(
    message: Message, expects: Expectations, mark: str | None = None
) -> dict[str, Any]:
    """The message as templates know it: absent fields left out, content and the arguments of calls
    in the form that is expected, the thought under all the names that templates look for. `mark`
    stands for an image where a template expects one text.
    """
    content = _content(message.content, expects.content, mark)
    if content is None and not expects.asks_for_none:
        content = ""
    fields: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls is not None:
        as_text = expects.splices_arguments
        fields["tool_calls"] = [_tool_call(call, as_text) for call in message.tool_calls]
    optional = {"name": message.name, "tool_call_id": message.tool_call_id}
    optional |= dict.fromkeys(REASONING_NAMES, message.reasoning)
    return fields | {key: value for key, value in optional.items() if value is not None}


def _content(
    content: Content | None,
    wanted: ContentFormat,
    mark: str | None = None,
) -> Any:
    if content is None:
        return None
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if wanted == "parts" else content
    if wanted == "text":
        return "\n".join(_as_text(part, mark) for part in content)
    return [dict(_IMAGE_PART) if _is_image(part) else _text_part(part) for part in content]


def _is_image(part: Mapping[str, Any]) -> bool:
    return part.get("type") == IMAGE


def _as_text(part: Mapping[str, Any], mark: str | None) -> str:
    if not _is_image(part):
        return str(_text_part(part)["text"])
    if mark is None:
        raise UnsupportedFeature(
            "This model's chat template has no place for an image here.",
            hint="Send the image in a message of the user.",
            param="prompt",
        )
    return mark


def images_of(prompt: Prompt) -> list[Image]:
    """The images of a conversation, in their order. Errors: InvalidRequest for a part that has
    none.
    """
    if not isinstance(prompt, Conversation):
        return []
    contents = (message.content for message in prompt.messages)
    parts = (part for content in contents if isinstance(content, list | tuple) for part in content)
    found = [part.get(IMAGE) for part in parts if _is_image(part)]
    for image in found:
        if not isinstance(image, Image):
            raise InvalidRequest(
                f"An image part of a message holds {_shown(image)}.",
                hint="Give an openllm.types.Image.",
                param="prompt",
            )
    return found


def content_text(message: Message) -> str:
    """The message's content as one text. Errors: as of `text_key`, InvalidRequest."""
    text = _content(message.content, "text")
    return "" if text is None else str(text)


def with_system_text(messages: Sequence[Message], text: str, takes_system: bool) -> list[Message]:
    """The same messages with `text` at the end of the system message, of a new one where there is
    none; or before the first message, for a template that refuses system messages.
    """
    first = messages[0]
    if first.role == "system" or not takes_system:
        return [attrs.evolve(first, content=_beside(first, text)), *messages[1:]]
    return [Message("system", text), *messages]


def _beside(message: Message, text: str) -> Content:
    """The message's content with `text`: behind it in a system message, else before it."""
    own = message.content or ""
    first, second = (own, text) if message.role == "system" else (text, own)
    return followed_by(first, second, "\n\n") if own else text


def followed_by(first: Content, second: Content, between: str = "\n") -> Content:
    """Two contents as one: a text where both are texts, else the parts of both. Errors: as of
    `text_key`, InvalidRequest.
    """
    if not _has_image(first) and not _has_image(second):
        texts = (str(_content(content, "text")) for content in (first, second))
        return between.join(texts)
    parts: list[Mapping[str, Any]] = []
    for content in (first, second):
        said = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts += said
    return parts


def _has_image(content: Content) -> bool:
    return not isinstance(content, str) and any(map(_is_image, content))


def text_key(kind: object, path: str = "messages") -> str:
    """The key under which a part of this kind holds its text; `path` names it for the caller.
    Errors: UnsupportedFeature for a part that is no text.
    """
    key = TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if key is None:
        raise UnsupportedFeature(
            f"{path}: only text is taken, not {kind!r}.",
            hint=f"A part is {', '.join(TEXT_PARTS)}.",
            param=path,
        )
    return key


def _text_part(part: Mapping[str, Any]) -> dict[str, Any]:
    text = part.get(text_key(part.get("type", "text")))
    if not isinstance(text, str):
        raise InvalidRequest("A text part of a message has no text.", param="prompt")
    return {"type": "text", "text": text}


def _tool_call(call: Mapping[str, Any], as_text: bool) -> dict[str, Any]:
    """Callers have a call's arguments as JSON text or as the object; so have templates. What is no
    object stays the text that it is.
    """
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if as_text and not isinstance(arguments, str):
        function["arguments"] = json.dumps(arguments or {}, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        function["arguments"] = _object(arguments)
    return {**call, "function": function}


def _object(arguments: str) -> dict[str, Any] | str:
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return parsed if isinstance(parsed, dict) else arguments
