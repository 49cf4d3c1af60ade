"""What chat and completions have in common on the wire: an answer's head, token counts, how a
choice and a stream end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from openllm.http.catalog import Target
from openllm.http.running import total_usage
from openllm.protocols.openai.dialect import OPENAI
from openllm.types import AnswerDelta, CompletionOutput, Usage, new_request_id


def head(
    prefix: str, kind: str, target: Target, created: int, request_id: str | None = None
) -> dict[str, Any]:
    """What an answer and each of its chunks begin with; `prefix` is that of the id."""
    return {
        "id": f"{prefix}-{request_id or new_request_id()}",
        "object": kind,
        "created": created,
        "model": target.name,
        "system_fingerprint": f"fp_{target.fingerprint}",
    }


def last_frame(usage: Usage) -> bytes:
    """The rest of a stream's last chunk, the one with the usage, and the end mark."""
    counts = msgspec.json.encode(usage_object(usage))
    return b',"choices":[],"usage":' + counts + b"}\n\n" + OPENAI.end


def chunk_end(usages: Sequence[Usage]) -> bytes:
    """What stands behind the choices of a chunk that tells what was counted so far."""
    counts = msgspec.json.encode(usage_object(total_usage(usages)))
    return b',"usage":' + counts + b"}\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` in OpenAI's shape."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    if usage.reasoning_tokens:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


def ending(choice: AnswerDelta | CompletionOutput, *, called: bool = False) -> dict[str, Any]:
    """finish_reason, and vLLM's stop_reason where a stop string or token of the request ended the
    choice; `called`: the choice has called a tool.
    """
    reason: str | None = choice.finish_reason
    if called and reason == "stop":
        reason = "tool_calls"
    if choice.stop_reason is None:
        return {"finish_reason": reason}
    return {"finish_reason": reason, "stop_reason": choice.stop_reason}
