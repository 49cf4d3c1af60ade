"""Which of several engines answers a request: the least loaded, or one that has the beginning of
its prompt.

The beginning is known by hashes of its blocks, each of which counts in the ones before it, as the
engines' own caches know it. An engine that would be loaded far beyond the others gives way to the
least loaded one, so that one prompt which everybody sends does not keep the others idle: consistent
hashing with bounded loads (https://arxiv.org/abs/1608.01350), with a memory of what went where.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from openllm.types import TokenRequest

BLOCK = 16  # tokens; vLLM's own
MOST_BLOCKS = 64  # of a prompt that are looked at
REMEMBERED = 1 << 15  # blocks of one engine: half a million tokens
FAIR = 1.25  # times the mean load that an engine may have and still be chosen for its cache
SPARE = 4  # choices beyond that, so that few requests do not chase each other away

Loads = Mapping[int, int]  # choices and calls that each engine which can answer has, by its number


class LeastLoaded:
    """The engine with the fewest choices; among equals the one that was chosen longest ago."""

    def __init__(self) -> None:
        self._turns: dict[int, int] = {}
        self._last = 0

    def choose(self, request: TokenRequest, loads: Loads) -> int:
        """The number of one of `loads`, which are not empty."""
        return self.least_loaded(loads)

    def least_loaded(self, loads: Loads) -> int:
        """As `choose`, for what has no beginning that an engine could know."""
        found = min(loads, key=lambda number: (loads[number], self._turns.get(number, 0)))
        self._last += 1
        self._turns[found] = self._last
        return found

    def forget(self, number: int) -> None:
        """That engine is another one from now on, with an empty cache."""


class CacheAware(LeastLoaded):
    """The engine that has been sent the longest beginning of the prompt. A beginning that nobody
    has goes to the one that its first block alone decides, in every process alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sent: dict[int, OrderedDict[int, None]] = {}

    def choose(self, request: TokenRequest, loads: Loads) -> int:
        blocks = block_hashes(request)
        if not blocks:
            return self.least_loaded(loads)
        known = {number: self._known(number, blocks) for number in loads}
        first = blocks[0]
        found = max(loads, key=lambda number: (known[number], hash((first, number, first))))
        if loads[found] >= FAIR * sum(loads.values()) / len(loads) + SPARE:
            found = self.least_loaded(loads)
        self._remember(found, blocks)
        return found

    def forget(self, number: int) -> None:
        self._sent.pop(number, None)

    def _known(self, number: int, blocks: Sequence[int]) -> int:
        """How many blocks, from the first on, that engine has been sent."""
        sent = self._sent.get(number) or ()
        return next((at for at, block in enumerate(blocks) if block not in sent), len(blocks))

    def _remember(self, number: int, blocks: Sequence[int]) -> None:
        sent = self._sent.setdefault(number, OrderedDict())
        for block in reversed(blocks):  # so that the first is forgotten last
            sent[block] = None
            sent.move_to_end(block)
        while len(sent) > REMEMBERED:
            sent.popitem(last=False)


def block_hashes(request: TokenRequest) -> list[int]:
    """One hash for each whole block of the prompt's beginning: of its tokens and of all before it,
    of the adapter and the salt. The same in every process.
    """
    words = f"{request.adapter or ''}\0{request.cache_salt or ''}"
    chain = zlib.crc32(words.encode())
    prompt, found = request.prompt_token_ids, list[int]()
    for at in range(0, min(len(prompt) // BLOCK, MOST_BLOCKS) * BLOCK, BLOCK):
        chain = hash((chain, *prompt[at : at + BLOCK]))
        found.append(chain)
    return found


def make_routing(name: str) -> LeastLoaded:
    """What a spec's `routing` names."""
    return CacheAware() if name == "cache-aware" else LeastLoaded()
