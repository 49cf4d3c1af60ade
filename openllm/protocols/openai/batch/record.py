"""A batch as it is kept: what was asked, how far it is, what came of it."""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec

from openllm.errors import OpenLLMError
from openllm.protocols.openai.batch.lines import BadLine

BATCH_ID = re.compile(r"batch_[0-9a-f]{32}")
WINDOWS = {"24h": 24 * 3600}  # in which a batch is answered, in seconds
ENDED = ("completed", "failed", "expired", "cancelled")


class Batch(msgspec.Struct, kw_only=True):
    """One batch. Times are Unix times, in seconds; None: not yet, or never."""

    id: str
    owner: str
    caller: str  # the name of the key, whose limits its requests count against
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    kept_for: int  # seconds, of its files
    metadata: dict[str, str] | None = None
    status: str = "validating"
    errors: list[dict[str, Any]] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def become(self, status: str, now: int) -> None:
        """Go on to a status, whose time is noted."""
        self.status = status
        if status != "validating":
            setattr(self, f"{status}_at", now)

    def fail(self, error: OpenLLMError, now: int) -> None:
        """End with an error."""
        line = error.number if isinstance(error, BadLine) else None
        told = {"code": error.code or error.kind, "message": str(error), "param": error.param}
        self.errors = [{**told, "line": line}]
        self.become("failed", now)

    def shown(self) -> dict[str, Any]:
        """The batch in OpenAI's shape."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("owner", "caller", "kept_for"):
            del value[name]
        counts = {name: value.pop(name) for name in ("total", "completed", "failed")}
        if self.errors is not None:
            value["errors"] = {"object": "list", "data": self.errors}
        return {**value, "object": "batch", "request_counts": counts}


def new_batch_id() -> str:
    """An id that nobody guesses."""
    return f"batch_{secrets.token_hex(16)}"
