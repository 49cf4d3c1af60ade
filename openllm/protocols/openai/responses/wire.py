"""The answer to one request for a response: the object, whole, or the events from `created` to the
last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from openllm.http.catalog import Target
from openllm.http.dialect import Failure
from openllm.protocols.openai.logprobs import ChatLogprobs
from openllm.protocols.openai.responses.output import Output, event
from openllm.protocols.openai.responses.request import ResponseRequest
from openllm.types import AnswerDelta, GenerationOutput, SamplingParams, Usage


class ResponseWire:
    """One response; `whole` is its JSON once it is complete or has come to its limit."""

    def __init__(
        self,
        name: str,
        request: ResponseRequest,
        target: Target,
        params: SamplingParams,
    ) -> None:
        top = request.top_logprobs
        scores = None if top is None else ChatLogprobs(target.llm.token_table, top)
        self.id = name
        self._output = Output(scores)
        self._length = False  # it has come to its limit
        # of a whole answer, to tell which tokens are those of its text
        self.note: Callable[[AnswerDelta], object] | None = None if top is None else self.delta
        self.whole = b""
        self._head = {
            "id": self.id,
            "object": "response",
            "created_at": int(time.time()),
            "model": target.name,
            "background": request.background,
            "max_tool_calls": None,
            "service_tier": "default",
            "store": request.store,
            "temperature": params.temperature,
            "top_p": params.top_p,
            **request.shown,
        }

    @property
    def items(self) -> list[dict[str, Any]]:
        """Those of the answer."""
        return self._output.items

    def opening(self) -> bytes:
        begun = self.state("in_progress")
        return event("response.created", 0, response=begun) + event(
            "response.in_progress", 1, response=begun
        )

    def delta(self, delta: AnswerDelta) -> bytes:
        if not self._output.number:
            self._output.number = 2  # after the opening
        frames = self._output.add(delta)
        if delta.finish_reason is None:
            return frames
        self._length = delta.finish_reason == "length"
        return frames + self._output.close(complete=not self._length)

    def closing(self, usage: Usage) -> bytes:
        ended = self._ended(usage)
        self.whole = msgspec.json.encode(ended)
        return event(f"response.{ended['status']}", self._output.number, response=ended)

    def failed(self, failure: Failure) -> bytes:
        """What the stream ends with when it fails: an `error`, and the response as it is."""
        number = self._output.number
        said = {"code": failure.code, "message": failure.message, "param": failure.param}
        kind = {"type": failure.kind}
        frame = event("error", number, **said, error={**kind, **said})
        return frame + event("response.failed", number + 1, response=self.failed_state(failure))

    def failed_state(self, failure: Failure) -> dict[str, Any]:
        """The response, failed."""
        error = {"code": _error_code(failure), "message": failure.message}
        return self.state("failed", output=self._output.so_far(), error=error)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        choice = outputs[0].outputs[0]
        if self.note is None:
            self._length = choice.finish_reason == "length"
            self._output.add(choice)
            self._output.close(complete=not self._length)
        self.whole = msgspec.json.encode(self._ended(outputs[0].usage))
        return self.whole

    def state(self, status: str, **said: Any) -> dict[str, Any]:
        """The response with `status`, and what else is `said` of it."""
        return {
            **self._head,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **said,
        }

    def _ended(self, usage: Usage) -> dict[str, Any]:
        said: dict[str, Any] = {"output": self._output.items, "usage": usage_of(usage)}
        if self._length:
            why = {"reason": "max_output_tokens"}
            return self.state("incomplete", incomplete_details=why, **said)
        return self.state("completed", completed_at=int(time.time()), **said)


def usage_of(usage: Usage) -> dict[str, Any]:
    """`usage` as a response has it."""
    cached = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": cached,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _error_code(failure: Failure) -> str:
    """One of the few codes that a response's error has."""
    if failure.status == 429:
        return "rate_limit_exceeded"
    return "invalid_prompt" if failure.status < 500 else "server_error"
