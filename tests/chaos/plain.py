"""A plain client beside the abuse: one stream after the other, and how long it waits between
tokens.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict

import httpx

BODY = {"prompt": "hello world", "max_tokens": 120, "ignore_eos": True, "stream": True}
PAUSE = 0.2  # seconds between two streams
END = "data: [DONE]"


class PlainClient:
    """`during` is what happens to the server now, under which waits are counted."""

    def __init__(self, url: str) -> None:
        self.during = "nothing"
        self.waits: dict[str, list[float]] = defaultdict(list)  # between two events, in seconds
        self.ends: dict[str, Counter[str]] = defaultdict(Counter)
        self._url = url

    async def run(self) -> None:
        """Until it is cancelled."""
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                end = await self.stream(client)
                self.ends[self.during][end] += 1
                await asyncio.sleep(PAUSE)

    async def stream(self, client: httpx.AsyncClient) -> str:
        """One stream; how it ended: "whole", a status, "error" for an event that says so, "cut"."""
        last = ""
        try:
            async with client.stream("POST", f"{self._url}/v1/completions", json=BODY) as answer:
                if answer.status_code != 200:
                    return str(answer.status_code)
                before = time.perf_counter()
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        now = time.perf_counter()
                        self.waits[self.during].append(now - before)
                        before, last = now, line
        except httpx.TransportError:
            return "cut"
        if last == END:
            return "whole"
        return "error" if '"error"' in last else "cut"
