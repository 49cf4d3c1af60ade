"""What chat and completions have in common on the wire: token counts, how a choice ends, a stream's
end mark.
"""

from __future__ import annotations

from typing import Any

from openllm.types import CompletionOutput, TextDelta, Usage

DONE = b"data: [DONE]\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` in OpenAI's shape."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def ending(choice: TextDelta | CompletionOutput) -> dict[str, Any]:
    """finish_reason, and vLLM's stop_reason where a stop string or token of the request ended the
    choice.
    """
    if choice.stop_reason is None:
        return {"finish_reason": choice.finish_reason}
    return {"finish_reason": choice.finish_reason, "stop_reason": choice.stop_reason}
