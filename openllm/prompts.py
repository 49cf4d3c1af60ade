"""What callers pass as a prompt, as values of `openllm.types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openllm.errors import InvalidRequest
from openllm.types import Conversation, Message, Prompt


def conversation(messages: Sequence[Message | Mapping[str, Any]]) -> Conversation:
    """Messages as a prompt. Errors: InvalidRequest for none, or for one without a role."""
    if not messages:
        raise InvalidRequest("There are no messages.", hint="Send at least one.", param="messages")
    return Conversation(tuple(item if isinstance(item, Message) else _message(item) for item in messages))


def _message(item: Mapping[str, Any]) -> Message:
    try:
        return Message(**item)
    except TypeError:
        raise InvalidRequest(
            f"A message has {sorted(item)}; it needs role and content.", hint="See openllm.Message.", param="messages"
        ) from None


def as_prompts(texts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One prompt or several, as several."""
    if isinstance(texts, str | Conversation):
        return [texts]
    items: list[Any] = list(texts)
    return [items] if items and all(isinstance(item, int) for item in items) else items
