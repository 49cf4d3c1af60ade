"""OpenAI's chat messages to a `Conversation`: what chat templates know, less what OpenAI has left
behind.
"""

from __future__ import annotations

from openllm.config.settings import Settings
from openllm.http.body import conversation
from openllm.http.body.fields import Fields
from openllm.types import Conversation


def read_conversation(fields: Fields, settings: Settings) -> Conversation:
    """messages, tools and what steers the template. Errors: InvalidRequest, UnsupportedFeature."""
    found = conversation.read_conversation(fields, settings)
    for name in ("functions", "function_call"):
        fields.refuse(name, "Use tools and tool_choice.", "none", [])
    return found
