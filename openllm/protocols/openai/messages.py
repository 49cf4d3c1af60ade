"""OpenAI's chat messages to a `Conversation`: what chat templates know, less what OpenAI has left
behind.
"""

from __future__ import annotations

import attrs

from openllm.config.settings import Settings
from openllm.http.body import conversation
from openllm.http.body.fields import Fields
from openllm.http.catalog import Target
from openllm.types import Conversation

EFFORT = "reasoning_effort"
MAX_EFFORT = 32  # characters
NO_EFFORT = "none"


def read_conversation(fields: Fields, settings: Settings) -> Conversation:
    """messages, tools and what steers the template. Errors: InvalidRequest, UnsupportedFeature."""
    found = conversation.read_conversation(fields, settings)
    for name in ("functions", "function_call"):
        fields.refuse(name, "Use tools and tool_choice.", "none", [])
    return found


def with_effort(found: Conversation, effort: str | None) -> Conversation:
    """`effort` as the template's argument of that name; "none" also as that by which many templates
    leave the thought out. What `chat_template_kwargs` says goes first.
    """
    if effort is None:
        return found
    said: dict[str, object] = {EFFORT: effort}
    if effort == NO_EFFORT:
        said["enable_thinking"] = False
    return attrs.evolve(found, template_kwargs={**said, **found.template_kwargs})


def effort_unasked(found: Conversation, target: Target) -> bool:
    """Whether the conversation says an effort that the model's template does not ask for."""
    if found.template_kwargs.get(EFFORT) in (None, NO_EFFORT):
        return False
    return EFFORT not in target.llm.renderer.source(tools=bool(found.tools))
