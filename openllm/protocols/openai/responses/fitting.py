"""A conversation without its earliest turns, where all of them do not fit the model's context."""

from __future__ import annotations

import attrs

from openllm.http.catalog import Target
from openllm.types import Conversation, GenerationRequest, Message

# Where turns are left out, this share of the context is kept free for the answer, or less where
# less is asked for.
ANSWER_SHARE = 4


async def fitting(target: Target, whole: Conversation, wanted: int | None) -> Conversation:
    """`whole`; or, where it leaves no room for an answer, the system messages that it begins with
    and as many of its last turns as leave some, from a message of the user on. With none that do,
    it is the last of these. `wanted`: the most tokens of the answer. Errors: those of
    `LLM.prompt_ids`.
    """
    limit = target.llm.max_model_len
    if await prompt_tokens(target, whole) < limit:
        return whole
    share = limit // ANSWER_SHARE
    most = limit - (share if wanted is None else min(wanted, share))
    shorter = _shorter(whole)
    low, high = 0, len(shorter)  # the first that fits is in [low, high]
    while low < high:
        middle = (low + high) // 2
        if await prompt_tokens(target, shorter[middle]) <= most:
            high = middle
        else:
            low = middle + 1
    return shorter[min(low, len(shorter) - 1)] if shorter else whole


async def prompt_tokens(target: Target, conversation: Conversation) -> int:
    """The prompt's length as the model would get it. Errors: those of `LLM.prompt_ids`."""
    request = GenerationRequest(conversation, adapter=target.adapter, reading=None)
    return len(await target.llm.prompt_ids(request))


def _shorter(whole: Conversation) -> list[Conversation]:
    """The conversation from each message of the user on, but the first; the longest first."""
    messages = whole.messages
    first = next((at for at, one in enumerate(messages) if one.role != "system"), len(messages))
    begins = [at for at, one in enumerate(messages) if one.role == "user" and at > first]
    system: tuple[Message, ...] = messages[:first]
    return [attrs.evolve(whole, messages=(*system, *messages[at:])) for at in begins]
