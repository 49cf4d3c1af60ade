"""What callers pass as a prompt, as values of `openllm.types`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openllm.errors import InvalidRequest
from openllm.types import Conversation, Message, Prompt

LONGEST_SHOWN = 80  # characters of what was wrong


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
