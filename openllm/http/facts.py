"""What may be told of a request to whoever runs the server: who asked what for how much, and never
what was said.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from openllm.http.exchange import Exchange

_DIGITS = 6  # of seconds


def facts_of(exchange: Exchange) -> dict[str, Any]:
    """What is known so far, as JSON values: ids, names, numbers of tokens, times in seconds."""
    found: dict[str, Any] = {
        "request_id": exchange.request_id,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "model": exchange.model,
        "key": exchange.caller.name,
        "stream": exchange.streaming,
    }
    if exchange.trace is not None:
        found |= exchange.trace.ids
    meter = exchange.meter
    if meter is None:
        return found
    found |= {"prompt_tokens": meter.prompt_tokens, "completion_tokens": meter.tokens}
    if meter.first_token is not None:
        found["first_token_seconds"] = round(meter.first_token - exchange.started, _DIGITS)
    for name, seconds in meter.phases.seconds():
        found[f"{name}_seconds"] = round(seconds, _DIGITS)
    return found


def running_facts(exchange: Exchange) -> dict[str, Any]:
    """The same of one that is being answered, with its `state` ("waiting" for its first token, or
    "answering"), and how long it has been here.
    """
    meter = exchange.meter
    answering = meter is not None and meter.first_token is not None
    found = facts_of(exchange)
    del found["status"]  # not before its answer is whole
    return found | {
        "state": "answering" if answering else "waiting",
        "since": datetime.fromtimestamp(exchange.created, UTC).isoformat(),
        "seconds": round(time.perf_counter() - exchange.started, _DIGITS),
    }
